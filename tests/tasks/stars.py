"""A kind of task from outside the package: how many stars a review gives, 1 to 3, as a number.

The head gives the logits of two thresholds, "more than 1" and "more than 2" (Frank and Hall 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from tokendrop.data.rows import Rows, read_numbers
from tokendrop.data.sources import Table
from tokendrop.data.split import Split
from tokendrop.data.tokens import Tokeniser
from tokendrop.engine.packed import Batch
from tokendrop.heads import CLASS
from tokendrop.tasks import Answer, Answering, Answers, Scores, Task


class Stars(Task):
    kind = "stars"
    head = CLASS
    metrics = ("closeness",)
    text = ("review",)
    counts = (1,)
    label = "stars"
    outputs = 2

    @classmethod
    def read_rows(cls, table: Table, text: Sequence[str], label: str) -> Rows:
        return read_numbers(table, text, label)

    @classmethod
    def tokenised(
        cls, rows: Rows, tokeniser: Tokeniser, labels: Sequence[str], doc_stride: int, what: str
    ) -> Split:
        found = tokeniser(rows.texts, what)
        stars = [int(label) for label in rows.labels]
        return Split(rows.texts, found.input_ids, found.token_type_ids, stars, found.truncated)

    @classmethod
    def output_names(cls, labels: list[str]) -> list[str]:
        return ["more than 1", "more than 2"]

    @classmethod
    def pose(cls, splits: Any, labels: Any, order: Any, metric: str, class_weights: Any) -> Stars:
        return cls(metric)

    @classmethod
    def answers(cls, split: Split, labels: Sequence[str], answering: Answering) -> StarAnswers:
        return StarAnswers()

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, thresholds(batch))

    def gold(self, logits: Tensor, batch: Batch) -> Tensor:
        return (logits * (2 * thresholds(batch) - 1)).sum()

    def scores(self, split: Split) -> Scores:
        return StarScores(split)


def thresholds(batch: Batch) -> Tensor:
    assert batch.labels is not None
    return (batch.labels[:, None] > batch.labels.new_tensor([1, 2])).float()


class StarAnswers(Answers[int]):
    def update(self, logits: Tensor, batch: Batch) -> None:
        assert batch.examples is not None
        stars = 1 + (logits > 0).sum(1)
        self.found.update(zip(batch.examples.tolist(), stars.tolist(), strict=True))

    def __getitem__(self, example: int) -> Answer:
        return Answer("*" * self.found[example], {}, example)


class StarScores(Scores):
    def __init__(self, split: Split) -> None:
        super().__init__(StarAnswers())
        self.split = split

    def compute(self) -> dict[str, Tensor]:
        return {"closeness": torch.tensor(self.examples()["score"].mean())}

    def examples(self) -> pd.DataFrame:
        index = self.answers.index
        frame = pd.DataFrame({"label": [self.split.labels[n] for n in index]}, index=index)
        frame["answer"] = [self.answers[n].label for n in index]
        frame["score"] = 1 - (frame["answer"].str.len() - frame["label"]).abs() / 2
        return frame
