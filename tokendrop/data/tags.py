"""Sentences with a tag for each word."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sentence:
    """The words of a row.

    Attributes:
        words: as the file has them.
        tags: the right tag of each word.
        places: position of each word's first token in its row, None if it has no token there.
    """

    words: tuple[str, ...]
    tags: list[str]
    places: list[int | None]
