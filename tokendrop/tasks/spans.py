"""Spans of tokens: the one that holds a right answer, and the one that logits say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokendrop.data.split import Window

_LONGEST = 30  # tokens of an answer at most


def answer_span(window: Window) -> tuple[int, int]:
    """First and last token of the first answer, 0 and 0 if it does not lie in the window."""
    question = window.question
    if not question.answers:
        return 0, 0
    begin = question.starts[0]
    end = begin + len(question.answers[0])
    (context,) = np.nonzero(window.offsets[:, 1])
    starts, ends = window.offsets[context].T
    if begin < starts[0] or end > ends[-1]:
        return 0, 0
    first = np.searchsorted(ends, begin, "right")
    last = np.searchsorted(starts, end, "left") - 1
    return int(context[first]), int(context[last])


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
