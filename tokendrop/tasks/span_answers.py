"""The answers to questions that logits say, and how right they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torchmetrics.functional.text import squad

from tokendrop.data.split import Split
from tokendrop.engine.packed import Batch
from tokendrop.tasks.answers import Answer, Answers, Scores
from tokendrop.tasks.spans import best_span


class _Best(NamedTuple):
    """The best span in the windows of a question seen so far.

    Attributes:
        score: sum of its start and end logits.
        text: its characters.
        row: the window it lies in.
        null: smallest sum of the logits of [CLS] in a window: each must hold no answer.
    """

    score: float
    text: str
    row: int
    null: float


class SpanAnswers(Answers[_Best]):
    """The answers to the questions seen, from (T, 2) logits; examples are questions.

    A question is answered with the best span of all its windows that lies in the context, ends
    where it starts or later, and has 30 tokens at most.
    """

    def __init__(self, split: Split, null_threshold: float | None) -> None:
        """
        Args:
            split: the windows.
            null_threshold: None if every question must be answered.
        """
        super().__init__()
        assert split.windows is not None
        self.windows = split.windows
        self.null_threshold = null_threshold

    def update(self, logits: Tensor, batch: Batch) -> None:
        rows = logits.float().cpu().split(list(batch.layout.lengths))
        for number, row in zip(batch.numbers, rows, strict=True):
            window, (start, end) = self.windows[number], row.numpy().T
            first, last, score = best_span(start, end, window.offsets[:, 1] > 0)
            begin, behind = window.offsets[first, 0], window.offsets[last, 1]
            # some tokenizers count the blank before a word as the word's own
            text = window.question.context[begin:behind].strip()
            self.join({window.number: _Best(score, text, number, float(start[0] + end[0]))})

    def join(self, found: Mapping[int, _Best]) -> None:
        """Add the best spans in other windows, be it of questions of which some are known."""
        for question, new in found.items():
            old = self.found.get(question, new)
            # the earlier window of two equals, whatever the order in which they come
            best = max(old, new, key=lambda one: (one.score, -one.row))
            self.found[question] = best._replace(null=min(old.null, new.null))

    def __getitem__(self, example: int) -> Answer:
        """A span, "" where there is none."""
        score, text, row, null = self.found[example]
        if self.null_threshold is not None and null - score > self.null_threshold:
            text = ""
        return Answer(text, {}, row)


class AnswerScores(Scores):
    """Exact match and F1 of (T, 2) logits, over the questions seen."""

    answers: SpanAnswers

    def compute(self) -> dict[str, Tensor]:
        columns = {"exact_match": "exact_match", "f1": "score"}
        means = self.examples()[list(columns.values())].mean().astype("float32")
        return {name: torch.tensor(means[column]) for name, column in columns.items()}

    def examples(self) -> pd.DataFrame:
        """The first right answer and the one given to each question ("" for none), its F1 as score.

        The index counts the questions of the split, not the windows.
        """
        index = self.answers.index
        columns = ["id", "label", "answer", "exact_match", "score"]
        lines = []
        for number in index:
            answer = self.answers[number]
            question = self.answers.windows[answer.row].question
            right = question.answers or [""]
            scores = squad(
                {"id": question.id, "prediction_text": answer.label},
                {"id": question.id, "answers": {"text": right}},
            )
            exact, f1 = (float(scores[name]) / 100 for name in ("exact_match", "f1"))
            lines.append((question.id, right[0], answer.label, exact, f1))
        return pd.DataFrame(lines, columns=columns, index=index)
