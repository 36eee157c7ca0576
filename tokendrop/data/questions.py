"""Questions about a context that holds the answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Question:
    """A question with its right answers.

    Attributes:
        id: its name in the file.
        text: the question.
        context: the paragraph that is asked about.
        answers: the right answers; none if the context does not hold one.
        starts: the first character of each in the context.
    """

    id: str
    text: str
    context: str
    answers: list[str]
    starts: list[int]


@dataclass(frozen=True, eq=False)
class Window:
    """A row of question answering: a question and a stretch of its context.

    Attributes:
        number: of the question in its split.
        question: what is asked.
        offsets: (tokens, 2) first character of each token in the context, and the one behind its
            last; 0, 0 at tokens that are no context.
    """

    number: int
    question: Question
    offsets: NDArray[np.int32]
