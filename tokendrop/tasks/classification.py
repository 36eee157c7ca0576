"""One class for each text or pair of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassMatthewsCorrCoef,
)

from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.heads import Kind
from tokendrop.tasks.base import MetricName, Scores, Task

if TYPE_CHECKING:
    from tokendrop.data.batching import Split


# what the saved predictions say beside the probability of each class
COLUMNS = {"example", "label", "score"}


class SequenceClassification(Task):
    """One class for each text or pair of texts."""

    kind: ClassVar[Kind] = "classification"
    metrics: ClassVar[tuple[MetricName, ...]] = ("accuracy", "f1", "matthews")

    def __init__(
        self,
        labels: list[str],
        metric: MetricName = "accuracy",
        class_weights: Sequence[float] | None = None,
        order: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            labels: names of the classes, at least 2, in the order of the logits.
            metric: what checkpoints are chosen by and methods are compared in. "f1" is that of
                the second class if there are two, else the mean over the classes.
            class_weights: by class, how much a row counts in the loss; all alike if not given.
            order: the same names in the order that says which class is the second; that of the
                logits if not given.

        Raises:
            UserError: a class has the name of a column of the saved predictions.
        """
        if taken := COLUMNS & set(labels):
            raise UserError(
                f"a class is called {min(taken)!r}, as a column of the saved predictions is: give "
                "it another name in the data"
            )
        super().__init__(metric)
        self.labels = labels
        self.outputs = len(labels)
        self.class_weights = class_weights
        self.order = list(order or labels)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of (B, classes) logits over the rows, weighted by class."""
        assert batch.labels is not None
        weights = self.class_weights
        return F.cross_entropy(
            logits, batch.labels, None if weights is None else logits.new_tensor(weights)
        )

    def gold(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return logits.gather(1, batch.labels[:, None]).sum()

    def scores(self, split: Split) -> Scores:
        """Accuracy, F1 and Matthews correlation."""
        return ClassScores(self.labels, split, self.order)


class ClassScores(Scores):
    """Accuracy, F1 and Matthews correlation of (B, classes) logits."""

    def __init__(self, labels: list[str], split: Split, order: list[str]) -> None:
        super().__init__()
        self.labels = labels
        self.split = split
        self.order = order
        classes = len(labels)
        f1: Metric = MulticlassF1Score(classes, average="macro")
        if classes == 2:
            # it reads the predicted class, not the logits
            f1 = _BinaryF1(labels.index(order[1]))
        accuracy = MulticlassAccuracy(classes, average="micro")
        matthews = _Matthews(classes)
        self.metrics = MetricCollection({"accuracy": accuracy, "f1": f1, "matthews": matthews})
        self.answers: dict[int, list[float]] = {}

    def update(self, logits: Tensor, batch: Batch) -> None:
        assert batch.labels is not None
        assert batch.examples is not None
        self.metrics.update(logits, batch.labels)
        probabilities = logits.softmax(-1).tolist()
        self.answers.update(zip(batch.examples.tolist(), probabilities, strict=True))

    def compute(self) -> dict[str, Tensor]:
        return self.metrics.compute()

    def reset(self) -> None:
        super().reset()
        self.metrics.reset()
        self.answers = {}

    def examples(self) -> pd.DataFrame:
        """The label, the probability of each class, and whether the likeliest class is right.

        The classes stand in the order that says which is the second.
        """
        numbers = sorted(self.answers)
        frame = pd.DataFrame(
            [self.answers[number] for number in numbers],
            columns=self.labels,
            index=pd.Index(numbers, name="example"),
        )
        gold = [self.split.labels[number] for number in numbers]
        found = torch.tensor(frame.to_numpy()).argmax(-1)
        frame = frame[self.order]
        frame.insert(0, "label", [self.labels[label] for label in gold])
        frame["score"] = (found == torch.tensor(gold)).float().tolist()
        return frame


class _BinaryF1(BinaryF1Score):
    """F1 of one of two classes from logits of both."""

    def __init__(self, positive: int) -> None:
        super().__init__()
        self.positive = positive

    def update(self, preds: Tensor, target: Tensor) -> None:
        found = preds.argmax(-1) == self.positive
        super().update(found.long(), (target == self.positive).long())


class _Matthews(MulticlassMatthewsCorrCoef):
    """Matthews correlation, 0 where one class alone is predicted or right.

    It is 0 / 0 there; torchmetrics gives what the limit of some other matrix would be.
    """

    def compute(self) -> Tensor:
        matrix = self.confmat
        if any((matrix.sum(axis) > 0).sum() < 2 for axis in (0, 1)):
            return torch.zeros((), device=matrix.device)
        return super().compute()
