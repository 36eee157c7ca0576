"""One number for each text or pair of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional import pearson_corrcoef, spearman_corrcoef

from tokendrop.data.rows import Rows, read_numbers
from tokendrop.data.sources import Table
from tokendrop.data.split import Split
from tokendrop.data.tokens import Tokeniser
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.heads import NUMBER
from tokendrop.tasks.answers import Answer, Answering, Answers, Scores
from tokendrop.tasks.base import Task
from tokendrop.tasks.resampling import Array, OfResamples, ratio


class Regression(Task):
    """One number for each text or pair of texts."""

    kind = "regression"
    head = NUMBER
    metrics = ("pearson", "spearman")

    def __init__(self, metric: str = "spearman") -> None:
        """
        Args:
            metric: what checkpoints are chosen by and methods are compared in.
        """
        super().__init__(metric)
        self.outputs = 1

    @classmethod
    def read_rows(cls, table: Table, text: Sequence[str], label: str) -> Rows:
        return read_numbers(table, text, label)

    @classmethod
    def class_names(cls, splits: dict[str, Rows], declared: list[str] | None) -> list[str]:
        """None: numbers have no names.

        Raises:
            UserError: all training rows have the same number.
        """
        train = splits["train"]
        if len(train) > 1 and len(set(train.labels)) == 1:
            raise UserError(
                f"{train.place}: every training row has the number {train.labels[0]:g}, so there "
                "is nothing to learn; choose the column with --data.label"
            )
        return []

    @classmethod
    def tokenised(
        cls, rows: Rows, tokeniser: Tokeniser, labels: Sequence[str], doc_stride: int, what: str
    ) -> Split:
        tokens = tokeniser(rows.texts, what)
        return Split(
            rows.texts, tokens.input_ids, tokens.token_type_ids, rows.labels, tokens.truncated
        )

    @classmethod
    def output_names(cls, labels: list[str]) -> list[str]:
        return ["LABEL_0"]

    @classmethod
    def answers(cls, split: Split, labels: Sequence[str], answering: Answering) -> NumberAnswers:
        return NumberAnswers()

    @classmethod
    def of_resamples(cls, metric: str, answers: pd.DataFrame) -> OfResamples:
        x, y = (answers[column].to_numpy(float) for column in ("label", "value"))
        return _pearson(x, y) if metric == "pearson" else _spearman(x, y)

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


class NumberAnswers(Answers[float]):
    """The number that (B, 1) logits are."""

    def update(self, logits: Tensor, batch: Batch) -> None:
        self.found.update(zip(batch.numbers, logits.squeeze(1).tolist(), strict=True))

    def __getitem__(self, example: int) -> Answer:
        value = self.found[example]
        return Answer(_shown(value), {}, example, value)


def _shown(value: float) -> str:
    """A number for people: three decimals, or three digits of one that is below 0.1."""
    return f"{value:.3g}" if 0 < abs(value) < 0.1 else f"{value:.3f}"


class NumberScores(Scores):
    """Pearson and Spearman correlation of (B, 1) logits; 0 if all answers are the same."""

    answers: NumberAnswers

    def __init__(self, split: Split) -> None:
        super().__init__(NumberAnswers())
        self.split = split

    def compute(self) -> dict[str, Tensor]:
        answers = self.answers.found
        # in 32 bits, years or seconds since 1970 are nearly equal numbers, and squares overflow
        found = torch.tensor(list(answers.values()), dtype=torch.float64)
        gold = torch.tensor([self.split.labels[n] for n in answers], dtype=torch.float64)
        if any(bool((values == values[0]).all()) for values in (found, gold)):
            return {"pearson": torch.tensor(0.0), "spearman": torch.tensor(0.0)}
        return {
            "pearson": pearson_corrcoef(found, gold),
            "spearman": spearman_corrcoef(found, gold),
        }

    def examples(self) -> pd.DataFrame:
        """The label, the value answered, and as score its negative squared error."""
        index = self.answers.index
        frame = pd.DataFrame(
            {
                "label": [self.split.labels[number] for number in index],
                "value": [self.answers.found[number] for number in index],
            },
            index=index,
        )
        frame["score"] = -((frame["value"] - frame["label"]) ** 2)
        return frame


def _pearson(x: Array, y: Array) -> OfResamples:
    return lambda weights: _correlation(weights, x - x.mean(), y - y.mean())


def _spearman(x: Array, y: Array) -> OfResamples:
    """Correlation of the ranks inside each resample, equals sharing the mean of their ranks."""
    rank_x, rank_y = _ranks(x), _ranks(y)
    return lambda weights: _correlation(weights, rank_x(weights), rank_y(weights))


def _ranks(values: Array) -> OfResamples:
    """(R, n) ranks of the n examples, from 0.5 - m / 2 to m / 2 - 0.5 in resamples of m."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))
    group = np.empty(len(values), dtype=int)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))

    def ranks(weights: Array) -> Array:
        sizes = np.add.reduceat(weights[:, order], starts, axis=1)
        middle = sizes.cumsum(1) - (sizes + weights.sum(1, keepdims=True)) / 2
        return middle[:, group]

    return ranks


def _correlation(weights: Array, x: Array, y: Array) -> Array:
    """(R,) weighted correlation; 0 where one side is constant. x and y are (n,) or (R, n)."""
    total = weights.sum(1, keepdims=True)
    means = [(weights * side).sum(1, keepdims=True) / total for side in (x, y)]
    x, y = x - means[0], y - means[1]
    spreads = [(weights * side**2).sum(1) for side in (x, y)]
    # what rounding leaves of the spread of equal numbers is none
    spreads = [
        np.where(spread > 1e-18 * total[:, 0] * mean[:, 0] ** 2, spread, 0)
        for spread, mean in zip(spreads, means, strict=True)
    ]
    return ratio((weights * x * y).sum(1), np.sqrt(spreads[0] * spreads[1]))
