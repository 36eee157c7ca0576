"""What the readers of data hand on: tokenised rows, and what is known of each."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, chain
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

IGNORED = -100  # label of a token that is not scored: special tokens, further pieces of a word


class Numbers(Sequence[list[int]]):
    """Whole numbers of N rows, e.g. token ids, one behind the other, in a mapped file or in memory.

    A row is made into a list when it is asked for: lists of all rows take ten times the memory.
    """

    def __init__(self, parts: Iterable[tuple[Any, Any]]) -> None:
        """
        Args:
            parts: of some rows each, two arrays: the numbers of all, and where each row begins
                among them with the end of the last.
        """
        # which give Python's numbers faster than arrays do
        self._parts = [(memoryview(flat), memoryview(ends)) for flat, ends in parts]
        self._starts = [0, *accumulate(len(ends) - 1 for _, ends in self._parts)]

    def __reduce__(self) -> tuple[Any, ...]:
        # a copy of a module, as callbacks that average weights make, copies what it measures on
        return type(self), ([(np.asarray(flat), np.asarray(ends)) for flat, ends in self._parts],)

    def __len__(self) -> int:
        return self._starts[-1]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Numbers:
        """The numbers of rows that are made one by one."""
        flat, ends = array("i"), array("i", [0])
        for row in rows:
            flat.extend(row)
            ends.append(len(flat))
        return cls([(flat, ends)])

    @property
    def lengths(self) -> list[int]:
        """How many numbers each row has."""
        return list(chain.from_iterable(np.diff(ends).tolist() for _, ends in self._parts))

    @overload
    def __getitem__(self, row: int) -> list[int]: ...

    @overload
    def __getitem__(self, row: slice) -> list[list[int]]: ...

    def __getitem__(self, row: int | slice) -> list[int] | list[list[int]]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        if row < 0:
            row += len(self)
        part = bisect_right(self._starts, row) - 1
        flat, ends = self._parts[part]
        place = row - self._starts[part]
        numbers: list[int] = flat[ends[place] : ends[place + 1]].tolist()
        return numbers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Tokens:
    """Token ids of N rows.

    Attributes:
        input_ids: special tokens included.
        token_type_ids: 1 in the second text of a pair, where the tokenizer marks it.
        truncated: how many texts lost their end.
    """

    input_ids: Sequence[list[int]]
    token_type_ids: Sequence[list[int]]
    truncated: int


@dataclass(frozen=True)
class Windows:
    """Questions with stretches of their contexts.

    Attributes:
        tokens: of each window; truncated are questions, no context is.
        examples: the number of the question of each window.
        offsets: (tokens, 2) of each window: first character of each token in the context, and the
            one behind its last; 0, 0 at tokens that are no context.
    """

    tokens: Tokens
    examples: Sequence[int]
    offsets: Sequence[NDArray[np.int32]]


@dataclass(frozen=True)
class Sentence:
    """The words of a row.

    Attributes:
        words: as the file has them.
        tags: the right tag of each word, those of entities in IOB2; none where nobody said.
        places: position of each word's first token in its row, None if it has no token there.
    """

    words: list[str]
    tags: list[str]
    places: list[int | None] = field(default_factory=list)


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


@dataclass(frozen=True)
class Rationale:
    """The words of a document, and which of them people marked.

    Attributes:
        words: of the row's text, of a pair the second one.
        marks: by word; all false where nobody marked any.
        tokens: by token of the row 1 if it is of a marked word, else 0; IGNORED at tokens that
            are no part of the document.
        cut: marked words of which no token is left.
    """

    words: list[str]
    marks: list[bool]
    tokens: list[int] = field(default_factory=list)
    cut: int = 0


@dataclass(frozen=True)
class Split:
    """The N tokenised rows of a split: an example each, or a window of one's context.

    Attributes:
        texts: the text or pair of texts of each; of tagged words, one text.
        input_ids: token ids of each, special tokens included.
        token_type_ids: beside them.
        labels: of each its class; its number (regression); the tag of every token, IGNORED where
            none is scored; or first and last token of the answer, 0 and 0 if not in the window.
            Empty where the right answers are not known.
        truncated: how many examples lost their end.
        sentences: of tagged words, the words of each row.
        windows: of question answering, the question of each row.
        rationales: why people gave each row its label, None if nobody was asked.
    """

    texts: Sequence[tuple[str, ...]]
    input_ids: Sequence[list[int]]
    token_type_ids: Sequence[list[int]]
    labels: Sequence[Any]  # int, float, list[int] or tuple[int, int], by the kind of task
    truncated: int
    sentences: Sequence[Sentence] | None = None
    windows: Sequence[Window] | None = None
    rationales: Sequence[Rationale] | None = None

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each example."""
        ids = self.input_ids
        return ids.lengths if isinstance(ids, Numbers) else [len(row) for row in ids]

    def __len__(self) -> int:
        return len(self.texts)

    def packed_labels(self, rows: Sequence[int]) -> list[Any] | None:
        """The labels of some rows, one after the other, as a batch has them; None without any."""
        if not self.labels:
            return None
        labels: list[Any] = [self.labels[row] for row in rows]
        of_tokens = bool(labels) and isinstance(labels[0], list)
        return list(chain.from_iterable(labels)) if of_tokens else labels
