"""The span of a context that answers a question."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from tokendrop.data.lazy import Made, taken
from tokendrop.data.questions import read_questions, read_squad
from tokendrop.data.rows import Rows
from tokendrop.data.sources import Table
from tokendrop.data.split import Question, Split, Window
from tokendrop.data.tokens import Tokeniser
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.heads import SPAN
from tokendrop.tasks.answers import Answering, Scores
from tokendrop.tasks.base import ClassWeights, Task
from tokendrop.tasks.resampling import OfResamples, mean
from tokendrop.tasks.span_answers import AnswerScores, SpanAnswers
from tokendrop.tasks.spans import answer_span


class QuestionAnswering(Task):
    """First and last token of the answer in a window of the context.

    Both are 0, [CLS], where the answer is not in the window.
    """

    kind = "question_answering"
    head = SPAN
    metrics = ("f1", "exact_match")
    text = ("question", "context")
    counts = (2,)
    label = "answers"

    def __init__(
        self, metric: str = "f1", unanswerable: bool = False, null_threshold: float = 0.0
    ) -> None:
        """
        Args:
            metric: what checkpoints are chosen by and methods are compared in.
            unanswerable: a question may have no answer in its context, as in SQuAD 2.
            null_threshold: by how much the logits of [CLS], start and end, must exceed those of
                the best span for no answer to be given.
        """
        super().__init__(metric)
        self.outputs = 2
        self.unanswerable = unanswerable
        self.null_threshold = null_threshold

    @classmethod
    def read_file(
        cls,
        path: str,
        text: Sequence[str],
        label: str,
        columns: Sequence[str] | None = None,
        folder: Path | None = None,
    ) -> Table:
        """The table of a file, which may be in the form of SQuAD."""
        return read_squad(path, text, label, folder)

    @classmethod
    def read_rows(cls, table: Table, text: Sequence[str], label: str) -> Rows:
        return read_questions(table, text, label)

    @classmethod
    def tokenised(
        cls, rows: Rows, tokeniser: Tokeniser, labels: Sequence[str], doc_stride: int, what: str
    ) -> Split:
        """The windows of all questions, with where the first answer to each lies.

        Raises:
            UserError: also an answered question whose context has no token.
        """
        found = tokeniser.windows(rows.texts, doc_stride, what)
        examples = np.array(found.examples, np.intp)
        windows = Made(Window, found.examples, taken(rows.labels, examples), found.offsets)
        starts, ends = array("i"), array("i")
        for window in windows:
            if window.question.answers and not window.offsets[:, 1].any():
                raise UserError(
                    f"{rows.place}, question {window.question.id}: the tokenizer makes no token of "
                    "its context, so no answer can lie there; remove the question"
                )
            start, end = answer_span(window)
            starts.append(start)
            ends.append(end)
        return Split(
            taken(rows.texts, examples),
            found.tokens.input_ids,
            found.tokens.token_type_ids,
            Made(_span, starts, ends),
            found.tokens.truncated,
            windows=windows,
        )

    @classmethod
    def content(cls, split: Split) -> list[object]:
        assert split.windows is not None
        asked = Made(
            lambda w: [w.number, w.question.id, w.question.answers, w.question.starts],
            split.windows,
        )
        return [*super().content(split), asked]

    @classmethod
    def output_names(cls, labels: list[str]) -> list[str]:
        return ["LABEL_0", "LABEL_1"]

    @classmethod
    def pose(
        cls,
        splits: Mapping[str, Split],
        labels: list[str],
        order: list[str],
        metric: str,
        class_weights: ClassWeights | None,
    ) -> QuestionAnswering:
        return cls(metric, _unanswerable(splits))

    @classmethod
    def answering(cls, splits: Mapping[str, Split], doc_stride: int) -> Answering:
        return Answering(cls.kind, doc_stride, _unanswerable(splits))

    @classmethod
    def complaint(cls, text: tuple[str, ...]) -> str:
        if len(text) == 2 and text[1].strip():
            return ""
        return (
            "is a question without a context to find the answer in: give pairs, (question, context)"
        )

    @classmethod
    def unlabelled_rows(cls, texts: list[tuple[str, ...]]) -> Rows:
        numbers = list(range(1, len(texts) + 1))
        questions = [
            Question(str(number), question, context, [], [])
            for number, (question, context) in zip(numbers, texts, strict=True)
        ]
        return Rows(texts, questions, numbers, "texts")

    @classmethod
    def fitting_stride(cls, text: tuple[str, ...], tokeniser: Tokeniser, doc_stride: int) -> int:
        """The model's stride, or half a window where that leaves a window no room to move on."""
        room = tokeniser.context_room(text[0])
        return doc_stride if doc_stride < room else max(0, room // 2)

    @classmethod
    def answers(cls, split: Split, labels: Sequence[str], answering: Answering) -> SpanAnswers:
        return SpanAnswers(split, 0.0 if answering.unanswerable else None)

    @classmethod
    def of_resamples(cls, metric: str, answers: pd.DataFrame) -> OfResamples:
        column = "exact_match" if metric == "exact_match" else "score"
        return mean(answers[column].to_numpy(float))

    @classmethod
    def most_frequent(cls, metric: str, answers: pd.DataFrame) -> float:
        """No answer to any question, which is right where a question has none."""
        return float((answers["label"].fillna("") == "").mean())

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean of the cross-entropies of start and end, over the tokens of each row.

        Args:
            logits: (T, 2), of start and end.
            batch: with labels (B, 2).
        """
        assert batch.labels is not None
        sides = zip(logits.unbind(1), batch.labels.unbind(1), strict=True)
        start, end = (
            F.cross_entropy(batch.layout.pad(side, -torch.inf), label) for side, label in sides
        )
        return (start + end) / 2

    def gold(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return logits.gather(0, batch.layout.first[:, None] + batch.labels).sum()

    def divergence(self, one: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """Mean KL(one || other) over the rows and over start and end.

        The distributions are over the tokens of a row.
        """
        total = one.new_zeros(())
        for p, q in zip(one.unbind(1), other.unbind(1), strict=True):
            p, q = _row_log_softmax(p, batch.layout), _row_log_softmax(q, batch.layout)
            total = total + F.kl_div(q, p, reduction="sum", log_target=True)
        return total / (2 * len(batch))

    def scores(self, split: Split) -> Scores:
        """Exact match and F1 of the questions, from 0 to 1."""
        return AnswerScores(SpanAnswers(split, self.null_threshold if self.unanswerable else None))


def _span(start: int, end: int) -> tuple[int, int]:
    return start, end


def _unanswerable(splits: Mapping[str, Split]) -> bool:
    """Whether a question may have no answer in its context."""
    return any(
        not window.question.answers for split in splits.values() for window in split.windows or []
    )


def _row_log_softmax(values: Tensor, layout: Layout) -> Tensor:
    return layout.unpad(layout.pad(values, -torch.inf).log_softmax(1))
