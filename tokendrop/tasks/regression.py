"""One number for each text or pair of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional import pearson_corrcoef, spearman_corrcoef

from tokendrop.engine.packed import Batch
from tokendrop.heads import Kind
from tokendrop.tasks.base import MetricName, Scores, Task

if TYPE_CHECKING:
    from tokendrop.data.batching import Split


class Regression(Task):
    """One number for each text or pair of texts."""

    kind: ClassVar[Kind] = "regression"
    metrics: ClassVar[tuple[MetricName, ...]] = ("pearson", "spearman")

    def __init__(self, metric: MetricName = "spearman") -> None:
        """
        Args:
            metric: what checkpoints are chosen by and methods are compared in.
        """
        super().__init__(metric)
        self.outputs = 1

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean squared error of (B, 1) logits."""
        assert batch.labels is not None
        return F.mse_loss(logits.squeeze(1), batch.labels)

    def gold(self, logits: Tensor, batch: Batch) -> Tensor:
        """The answers themselves, summed: there is no other to tell the right one from."""
        return logits.sum()

    def divergence(self, one: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """Half the mean squared difference: KL of normal distributions of variance 1.

        The squared error is the likelihood of that distribution.
        """
        return F.mse_loss(other, one) / 2

    def scores(self, split: Split) -> Scores:
        """Pearson and Spearman correlation."""
        return NumberScores(split)


class NumberScores(Scores):
    """Pearson and Spearman correlation of (B, 1) logits; 0 if all answers are the same."""

    def __init__(self, split: Split) -> None:
        super().__init__()
        self.split = split
        self.answers: dict[int, float] = {}

    def update(self, logits: Tensor, batch: Batch) -> None:
        assert batch.examples is not None
        values = logits.squeeze(1).tolist()
        self.answers.update(zip(batch.examples.tolist(), values, strict=True))

    def compute(self) -> dict[str, Tensor]:
        found = torch.tensor(list(self.answers.values()))
        gold = torch.tensor([self.split.labels[number] for number in self.answers])
        if any(bool((values == values[0]).all()) for values in (found, gold)):
            return {"pearson": torch.tensor(0.0), "spearman": torch.tensor(0.0)}
        return {
            "pearson": pearson_corrcoef(found, gold),
            "spearman": spearman_corrcoef(found, gold),
        }

    def reset(self) -> None:
        super().reset()
        self.answers = {}

    def examples(self) -> pd.DataFrame:
        """The label, the value answered, and as score its negative squared error."""
        numbers = sorted(self.answers)
        frame = pd.DataFrame(
            {
                "label": [self.split.labels[number] for number in numbers],
                "value": [self.answers[number] for number in numbers],
            },
            index=pd.Index(numbers, name="example"),
        )
        frame["score"] = -((frame["value"] - frame["label"]) ** 2)
        return frame
