"""A grid in parts, for arrays of jobs that some scheduler starts in any order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tokendrop.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Every n-th training of a grid.

    Attributes:
        number: which part, from 1.
        of: how many there are.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """
        Raises:
            UserError: it is not like 1/4.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        number, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            raise UserError(
                f"--shard {text} names no part: use i/n with i from 1 to n, e.g. 1/4 to 4/4"
            )
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number} of {self.of}"

    def others(self) -> list[Shard]:
        """All other parts, beginning with the next one."""
        return [Shard((self.number + k - 1) % self.of + 1, self.of) for k in range(1, self.of)]

    def part(self, every: Sequence[T]) -> list[T]:
        """Its share, in order."""
        return list(every[self.number - 1 :: self.of])


WHOLE = Shard()
