"""A metric from outside the package: accuracy that counts every class alike, however rare."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from tokendrop.data.split import Split
from tokendrop.tasks import Scores, SequenceClassification
from tokendrop.tasks.classification import ClassScores
from tokendrop.tasks.resampling import Array, OfResamples, ratio

NAME = "balanced_accuracy"


class Balanced(SequenceClassification):
    kind = "balanced"
    metrics = (*SequenceClassification.metrics, NAME)

    @classmethod
    def of_resamples(cls, metric: str, answers: pd.DataFrame) -> OfResamples:
        if metric != NAME:
            return super().of_resamples(metric, answers)
        members = pd.get_dummies(answers["label"]).to_numpy(float)
        right = members * answers[["score"]].to_numpy(float)

        def of_weights(weights: Array) -> Array:
            sizes = weights @ members
            return ratio(weights @ right, sizes).sum(1) / (sizes > 0).sum(1)

        return of_weights

    def scores(self, split: Split) -> Scores:
        return BalancedScores(self.labels, split, self.order)


class BalancedScores(ClassScores):
    def compute(self) -> dict[str, Tensor]:
        rows = self.examples()
        each = rows["score"].groupby(rows["label"]).mean()
        return super().compute() | {NAME: torch.tensor(each.mean())}
