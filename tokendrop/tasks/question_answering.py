"""The span of a context that answers a question."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.text import squad

from tokendrop.engine.packed import Batch, Layout
from tokendrop.heads import Kind
from tokendrop.tasks.base import MetricName, Scores, Task

if TYPE_CHECKING:
    from tokendrop.data.batching import Split
    from tokendrop.data.questions import Question

_LONGEST = 30  # tokens of an answer at most


class QuestionAnswering(Task):
    """First and last token of the answer in a window of the context.

    Both are 0, [CLS], where the answer is not in the window.
    """

    kind: ClassVar[Kind] = "question_answering"
    metrics: ClassVar[tuple[MetricName, ...]] = ("f1", "exact_match")

    def __init__(
        self, metric: MetricName = "f1", unanswerable: bool = False, null_threshold: float = 0.0
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
        return AnswerScores(split, self.null_threshold if self.unanswerable else None)


def _row_log_softmax(values: Tensor, layout: Layout) -> Tensor:
    return layout.unpad(layout.pad(values, -torch.inf).log_softmax(1))


class _Best(NamedTuple):
    """The best span in the windows of a question seen so far.

    Attributes:
        score: sum of its start and end logits.
        text: its characters.
        null: smallest sum of the logits of [CLS] in a window: each must hold no answer.
    """

    score: float
    text: str
    null: float


class AnswerScores(Scores):
    """Exact match and F1 of (T, 2) logits, over the questions seen.

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
        self.questions: dict[int, Question] = {}
        self.best: dict[int, _Best] = {}

    def update(self, logits: Tensor, batch: Batch) -> None:
        assert batch.examples is not None
        rows = logits.float().cpu().split(list(batch.layout.lengths))
        for number, row in zip(batch.examples.tolist(), rows, strict=True):
            window = self.windows[number]
            start, end = row.numpy().T
            first, last, score = best_span(start, end, window.offsets[:, 1] > 0)
            text = window.question.context[window.offsets[first, 0] : window.offsets[last, 1]]
            new = _Best(score, text, float(start[0] + end[0]))
            old = self.best.get(window.number, new)
            self.questions[window.number] = window.question
            self.best[window.number] = _Best(
                *max(old[:2], new[:2], key=lambda found: found[0]), min(old.null, new.null)
            )

    def compute(self) -> dict[str, Tensor]:
        frame = self.examples()
        return {
            "exact_match": torch.tensor(frame["exact_match"].mean(), dtype=torch.float32),
            "f1": torch.tensor(frame["score"].mean(), dtype=torch.float32),
        }

    def reset(self) -> None:
        super().reset()
        self.questions, self.best = {}, {}

    def examples(self) -> pd.DataFrame:
        """The first right answer and the one given to each question ("" for none), its F1 as score.

        The index counts the questions of the split, not the windows.
        """
        numbers = sorted(self.best)
        columns = ["id", "label", "answer", "exact_match", "score"]
        lines = []
        for number in numbers:
            question, answer = self.questions[number], self._answer(number)
            right = question.answers or [""]
            scores = squad(
                {"id": question.id, "prediction_text": answer},
                {"id": question.id, "answers": {"text": right}},
            )
            exact, f1 = (float(scores[name]) / 100 for name in ("exact_match", "f1"))
            lines.append((question.id, right[0], answer, exact, f1))
        return pd.DataFrame(lines, columns=columns, index=pd.Index(numbers, name="example"))

    def _answer(self, number: int) -> str:
        score, text, null = self.best[number]
        if self.null_threshold is not None and null - score > self.null_threshold:
            return ""
        return text


def best_span(
    start: NDArray[np.float32], end: NDArray[np.float32], allowed: NDArray[np.bool_]
) -> tuple[int, int, float]:
    """First and last token of the span with the largest sum of logits, and that sum.

    Both ends are allowed tokens, and no span is longer than 30 tokens. All such spans are looked
    at, which is the usual list of n best for an n that loses none.

    Args:
        start: (n,) logits of a row.
        end: beside them.
        allowed: (n,) where a span may start and end; true at one token at least.
    """
    start = np.where(allowed, start, -np.inf)
    ends = np.append(np.where(allowed, end, -np.inf), np.full(_LONGEST - 1, -np.inf))
    sums = start[:, None] + np.lib.stride_tricks.sliding_window_view(ends, _LONGEST)
    first, length = np.unravel_index(sums.argmax(), sums.shape)
    return int(first), int(first + length), float(sums[first, length])
