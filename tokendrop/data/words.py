"""Which word a token is of."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from tokenizers import Encoding


def words_of_tokens(words: list[str], encoding: Encoding, part: int) -> list[int]:
    """The word that each token of a part ends in, -1 for other, special and empty tokens."""
    ends = list(accumulate((len(word) + 1 for word in words), initial=-1))[1:]
    return [
        -1 if side != part or start == end else bisect_left(ends, end)
        for side, (start, end) in zip(encoding.sequence_ids, encoding.offsets, strict=True)
    ]
