"""Rows in a padded matrix, in the clothes of a packed layout.

An exported graph has no packed batch: an engine's operators want rectangles. Here B rows lie in a
matrix of the width of the longest, and after each drop the matrix is as narrow as the longest row
that is left, so that one row alone loses exactly what is dropped. A method's own moments run on it
unchanged as long as they work with tensors: what would be read on the host is not known there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor

from tokendrop.engine.packed import Layout


class AskedOnHost(Exception):
    """A method wanted to know on the host how long the rows are."""


class _Unknown(tuple[int, ...]):
    """So many numbers that only the graph will know."""

    def _refuse(self, *_: object) -> NoReturn:
        raise AskedOnHost

    def __iter__(self) -> Iterator[int]:
        self._refuse()

    __getitem__ = __eq__ = _refuse
    __hash__ = None  # type: ignore[assignment]


class PaddedLayout(Layout):
    """Where B rows lie in a matrix (B, S), the tokens of which are counted row by row: T = B S.

    Attributes:
        real: (B, S) false behind the end of a row.
        tokens: (T,) the index in the original matrix of each token, of padding any.
    """

    real: Tensor

    def __init__(self, real: Tensor, tokens: Tensor) -> None:
        object.__setattr__(self, "real", real)
        object.__setattr__(self, "tokens", tokens)

    @property
    def lengths(self) -> tuple[int, ...]:
        return _Unknown([0] * len(self.real))

    origin = lengths

    @property
    def first(self) -> Tensor:
        return torch.arange(self.real.shape[0]) * self.real.shape[1]

    @property
    def rows(self) -> Tensor:
        return torch.arange(self.real.shape[0])

    @property
    def row(self) -> Tensor:
        return self.rows[:, None].expand(self.real.shape).flatten()

    @property
    def sizes(self) -> Tensor:
        return self.real.sum(1)

    @property
    def is_first(self) -> Tensor:
        return (torch.arange(self.real.shape[1]) == 0).expand(self.real.shape).flatten()

    def pad(self, values: Tensor, fill: float) -> Tensor:
        return values.view(self.real.shape).masked_fill(~self.real, fill)

    def unpad(self, matrix: Tensor) -> Tensor:
        return matrix.flatten()

    def sum(self, values: Tensor) -> Tensor:
        rows = values.unflatten(0, self.real.shape)
        real = self.real.view(*self.real.shape, *[1] * (values.ndim - 1))
        return (rows * real).sum(1)

    def on_device(self, numbers: Any) -> Tensor:
        raise AskedOnHost

    def best(self, scores: Tensor, counts: Tensor, keep_first: bool) -> tuple[Tensor, PaddedLayout]:
        """Compact to the best tokens of each row, in the order in which they lie.

        Args:
            scores: (T,) larger ones first, and of equal ones the earlier.
            counts: (B,) how many of each row.
            keep_first: whether a row's first token is the best whatever its score.

        Returns:
            (T',) the present token that each one is, and the layout after the gather.
        """
        ranked = self.pad(scores.float(), -torch.inf)
        if keep_first:
            ranked = torch.cat([torch.full_like(ranked[:, :1], torch.inf), ranked[:, 1:]], 1)
        width = _longest(counts)
        chosen = ranked.topk(width, dim=1).indices
        behind = self.real.shape[1]
        kept = torch.arange(width) < counts[:, None]
        places = torch.where(kept, chosen, behind).sort(dim=1).values
        return self._at(places.clamp_max(behind - 1), kept)

    def keep(self, mask: Tensor) -> tuple[Tensor, PaddedLayout]:  # type: ignore[override]
        """Compact to the tokens where ``mask`` (T,) is true; at least one of each row."""
        stays = mask.view(self.real.shape) & self.real
        counts = stays.sum(1)
        places = torch.arange(self.real.shape[1])
        order = torch.where(stays, places, places + self.real.shape[1])
        width = _longest(counts)
        index = order.topk(width, dim=1, largest=False).indices
        return self._at(index, torch.arange(width) < counts[:, None])

    def _at(self, places: Tensor, real: Tensor) -> tuple[Tensor, PaddedLayout]:
        index = (places + self.first[:, None]).flatten()
        return index, PaddedLayout(real, self.tokens.index_select(0, index))


def _longest(counts: Tensor) -> Any:
    """A number that is traced: it stays a tensor, which torch takes where it is typed ``int``."""
    return counts.max()
