"""Sequences whose entries are made when they are asked for, so that they are never all there."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Lazy(Sequence[T], Generic[T]):
    """A sequence that makes its entries when they are asked for."""

    @abstractmethod
    def entries(self, start: int, stop: int) -> Iterator[T]:
        """Those from ``start`` to before ``stop``, a piece at a time."""

    @abstractmethod
    def entry(self, place: int) -> T:
        """The one at a place from 0 on."""

    @abstractmethod
    def take(self, chosen: NDArray[np.intp]) -> Lazy[T]:
        """The entries with these numbers, which rise."""

    @overload
    def __getitem__(self, place: int) -> T: ...

    @overload
    def __getitem__(self, place: slice) -> list[T]: ...

    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step == 1:
                return list(self.entries(start, max(start, stop)))
            return [self[one] for one in range(start, stop, step)]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self.entry(place % len(self))

    def __iter__(self) -> Iterator[T]:
        return self.entries(0, len(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class Made(Lazy[T]):
    """What a function makes of the entries of several sequences, row by row."""

    def __init__(self, make: Callable[..., T], *columns: Sequence[Any]) -> None:
        """
        Args:
            make: gets an entry of each column.
            columns: of one length.
        """
        self._make, self._columns = make, columns

    def __len__(self) -> int:
        return len(self._columns[0])

    def entries(self, start: int, stop: int) -> Iterator[T]:
        parts = [entries_of(column, start, stop) for column in self._columns]
        return map(self._make, *parts)

    def entry(self, place: int) -> T:
        return self._make(*(column[place] for column in self._columns))

    def take(self, chosen: NDArray[np.intp]) -> Made[T]:
        return Made(self._make, *(taken(column, chosen) for column in self._columns))


def entries_of(column: Sequence[T], start: int, stop: int) -> Iterator[T]:
    """Entries from ``start`` to before ``stop``; those of a :class:`Lazy` a piece at a time."""
    if isinstance(column, Lazy):
        return column.entries(start, stop)
    return iter(column if stop - start == len(column) else column[start:stop])


def taken(column: Sequence[Any], chosen: NDArray[np.intp]) -> Sequence[Any]:
    """The entries with these numbers, which rise, in the form that the column has."""
    if isinstance(column, Lazy):
        return column.take(chosen)
    picked = (column[row] for row in map(int, chosen))
    return array("q", picked) if isinstance(column, range | array) else list(picked)
