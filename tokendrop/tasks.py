"""What is learned: the loss and the metrics of a task."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import BinaryF1Score, MulticlassAccuracy, MulticlassF1Score

MetricName = Literal["accuracy", "f1"]


class SequenceClassification:
    """One class for each text or pair of texts."""

    def __init__(self, classes: int, metric: MetricName = "accuracy") -> None:
        """
        Args:
            classes: number of classes, at least 2.
            metric: what checkpoints are chosen by and methods are compared in. "f1" is that of
                the second class if there are two, else the mean over the classes.
        """
        self.classes = classes
        self.metric = metric

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of (B, classes) logits over the rows."""
        return F.cross_entropy(logits, labels)

    def metrics(self) -> MetricCollection:
        """The metrics, to be updated with (B, classes) logits and (B,) labels."""
        # two classes: the binary score reads the predicted class, not the logits
        f1 = _BinaryF1() if self.classes == 2 else MulticlassF1Score(self.classes, average="macro")
        accuracy = MulticlassAccuracy(self.classes, average="micro")
        return MetricCollection({"accuracy": accuracy, "f1": f1})


class _BinaryF1(BinaryF1Score):
    """F1 of the second class from logits of both."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        super().update(preds.argmax(-1), target)
