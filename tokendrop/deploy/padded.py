"""Rows in a padded matrix, in the clothes of a packed layout.

An exported graph has no packed batch: an engine's operators want rectangles. Here B rows lie in a
matrix of the width of the longest, and after each drop the matrix is as narrow as the longest row
that is left, so that one row alone loses exactly what is dropped. A method's own moments run on it
unchanged as long as they work with tensors: what would be read on the host is not known there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NoReturn

import torch
from torch import Tensor

from tokendrop.engine.layout import Layout
from tokendrop.errors import UserError


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


class NotHandedOn:
    """Token ids and types where they are not known: in a file behind an exit."""

    def _refuse(self, *_: object) -> NoReturn:
        raise UserError(
            "a method that reads token ids or types behind an exit cannot be exported, because the "
            "files behind it get states and positions alone: let it read them before the first "
            "exit, or leave out the exit"
        )

    __getitem__ = __getattr__ = _refuse


class PaddedLayout(Layout):
    """Where B rows lie in a matrix (B, S), the tokens of which are counted row by row: T = B S.

    What it knows it works out once, so that a graph holds it once.

    Attributes:
        real: (B, S) false behind the end of a row.
        tokens: (T,) the index in the original matrix of each token, of padding any.
        count: B, and
        width: S, which are tensors while a graph is traced.
    """

    real: Tensor
    count: Any
    width: Any

    def __init__(self, real: Tensor, tokens: Tensor) -> None:
        count, width = real.shape
        vars(self).update(real=real, tokens=tokens, count=count, width=width)

    @property
    def lengths(self) -> tuple[int, ...]:
        return _Unknown([0] * len(self.real))

    origin = lengths

    @cached_property
    def first(self) -> Tensor:
        return self.rows * self.width

    @cached_property
    def rows(self) -> Tensor:
        return torch.arange(self.count)

    @cached_property
    def places(self) -> Tensor:
        """(S,) the columns of the matrix."""
        return torch.arange(self.width)

    @property
    def row(self) -> Tensor:
        return self.rows[:, None].expand(self.count, self.width).flatten()

    @cached_property
    def sizes(self) -> Tensor:
        return self.real.sum(1)

    @property
    def is_first(self) -> Tensor:
        return (self.places == 0).expand(self.count, self.width).flatten()

    @cached_property
    def bias(self) -> Tensor:
        """(B, 1, 1, S) that keeps queries from attending to padding."""
        lowest = torch.finfo(torch.float32).min
        return torch.zeros_like(self.real, dtype=torch.float32).masked_fill(~self.real, lowest)[
            :, None, None
        ]

    def check(self, *given: object, **options: object) -> None:
        """Nothing: a traced graph knows no sizes, and the method has run on packed rows before."""

    def pad(self, values: Tensor, fill: float) -> Tensor:
        return values.view(self.count, self.width).masked_fill(~self.real, fill)

    def unpad(self, matrix: Tensor) -> Tensor:
        return matrix.flatten()

    def sum(self, values: Tensor) -> Tensor:
        rows = values.view(self.count, self.width, *values.shape[1:])
        real = self.real.view(self.count, self.width, *[1] * (values.ndim - 1))
        return (rows * real).sum(1)

    def on_device(self, numbers: Any) -> Tensor:
        raise AskedOnHost

    def by_head(self, states: Tensor) -> Tensor:
        """(T, heads, size) as (B, heads, S, size)."""
        heads, size = int(states.shape[1]), int(states.shape[2])
        return states.view(self.count, -1, heads, size).transpose(1, 2)

    def received(self, shares: Tensor, *, diagonal: bool) -> Tensor:
        """(T,) the attention that each token received from its row's own queries, over all heads.

        Args:
            shares: (B, heads, S, S) probabilities over the keys.
            diagonal: whether what a token paid to itself counts.
        """
        votes = self.real.float()[:, None, None] @ shares
        if not diagonal:
            own = self.places[:, None].expand_as(shares[..., :1])
            votes = votes - shares.gather(3, own).transpose(2, 3)
        return votes.sum((1, 2)).flatten()

    def best(
        self, scores: Tensor, counts: Tensor, width: Tensor, keep_first: bool
    ) -> tuple[Tensor, PaddedLayout]:
        """Compact to the best tokens of each row, in the order in which they lie.

        Args:
            scores: (T,) larger ones first, and of equal ones the earlier.
            counts: (B,) how many of each row.
            width: the largest number that may be among them.
            keep_first: whether a row's first token is the best whatever its score.

        Returns:
            (T',) the present token that each one is, and the layout after the gather.
        """
        ranked = self.pad(scores.float(), -torch.inf)
        if keep_first:
            ranked = ranked.masked_fill(self.places == 0, torch.inf)
        most: Any = torch.minimum(width, torch.as_tensor(self.width))
        chosen = ranked.topk(most, dim=1).indices
        kept = torch.arange(most) < counts[:, None]
        behind = self.width - 1
        # those that are too many for a row become padding, which may be any token
        places = torch.where(kept, chosen, behind).sort(dim=1).values
        return self._at(places, kept)

    def keep(self, mask: Tensor) -> tuple[Tensor, PaddedLayout]:  # type: ignore[override]
        """Compact to the tokens where ``mask`` (T,) is true; at least one of each row."""
        stays = mask.view(self.count, self.width) & self.real
        counts = stays.sum(1)
        order = torch.where(stays, self.places, self.places + self.width)
        width: Any = counts.max()  # traced, it stays a tensor, which torch takes for an int
        index = order.topk(width, dim=1, largest=False).indices
        return self._at(index, torch.arange(width) < counts[:, None])

    def _at(self, places: Tensor, real: Tensor) -> tuple[Tensor, PaddedLayout]:
        index = (places + self.first[:, None]).flatten()
        return index, PaddedLayout(real, self.tokens.index_select(0, index))
