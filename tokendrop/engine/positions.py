"""What attention makes of how far a key stands from its query: sliding windows and relative
position biases.

Distances are those of the row as it came in, whatever was dropped between two tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch


@dataclass(frozen=True, eq=False)
class SlidingWindow:
    """Sliding-window (local) attention: a query sees only the tokens that stood near it.

    Attributes:
        reach: the largest distance at which a token is still seen.
        positions: (T,) where each live token stood in its row as it came in.
        wide: (R,) whether a live row may hold tokens further apart than that, on the host.
        whole: whether no live row has lost a token.
    """

    reach: int
    positions: Tensor
    wide: tuple[bool, ...]
    whole: bool

    @classmethod
    def of(cls, reach: int, batch: Batch, layout: Layout) -> SlidingWindow | None:
        """The window for the live tokens, or None if every query sees its whole row anyway."""
        wide = tuple(batch.spans[row] > reach for row in layout.origin)
        if not any(wide):
            return None
        whole = all(_whole_rows(batch, layout))
        return cls(reach, batch.positions.index_select(0, layout.tokens), wide, whole)


@dataclass(frozen=True, eq=False)
class Far:
    """The sliding-window mask of one block of rows.

    Attributes:
        places: (rows, width) where each token stood in its row as it came in.
        reach: the largest distance at which a token is still seen.
        real: (rows, width) false for padding, None if there is none.
    """

    places: Tensor
    reach: int
    real: Tensor | None

    def of(self, queries: slice) -> Tensor:
        """(rows, 1, queries, width) true where a key is too far from a query to be seen."""
        far = (self.places[:, queries, None] - self.places[:, None]).abs() > self.reach
        if self.real is not None:  # a padding query must see some key: its softmax would be nan
            far &= self.real[:, queries, None]
        return far[:, None]


class RelativeBias:
    """Relative positions for one pass: a number for each head and distance, added to the logits.

    Distances share a number by buckets, as in T5.

    Attributes:
        weight: (heads, buckets) what is added.
        bucket: (2 * reach + 1,) int32, the bucket of a key that stands this many places behind its
            query, from -reach to reach.
    """

    def __init__(self, weight: Tensor, bucket: Tensor, batch: Batch) -> None:
        self.weight = weight
        self.bucket = bucket
        self._batch = batch
        # of the present layout, which is the same in many layers
        self._known: tuple[Layout, Tensor, tuple[bool, ...]] | None = None

    @cached_property
    def by_distance(self) -> Tensor:
        """(heads, 2 * reach + 1) what is added at each distance."""
        return self.weight.index_select(1, self.bucket)

    @cached_property
    def _square(self) -> Tensor:
        """(heads, reach + 1, reach + 1) what is added in a row that has all its tokens."""
        places = torch.arange(self.bucket.shape[0] // 2 + 1, device=self.bucket.device)
        return looked_up(self.by_distance, places[None])[0]

    def positions(self, layout: Layout) -> Tensor:
        """(T,) where each live token stood in its row as it came in."""
        return self._at(layout)[1]

    def of_block(self, layout: Layout, first: int, places: Tensor) -> RelativeBlock:
        """The part of a block of rows.

        Args:
            layout: where the live rows lie.
            first: the block's first live row.
            places: (rows, width) where each token of the block stood; padding stands anywhere.
        """
        rows, width = places.shape
        if not all(self._at(layout)[2][first : first + rows]):
            return RelativeBlock(self.by_distance, places, None)
        if torch.is_grad_enabled():
            in_order = torch.arange(width, device=places.device)
            return RelativeBlock(self.by_distance, in_order[None], None)
        return RelativeBlock(self.by_distance, places, self._square[:, :width, :width])

    def _at(self, layout: Layout) -> tuple[Layout, Tensor, tuple[bool, ...]]:
        if self._known is None or self._known[0] is not layout:
            positions = self._batch.positions.index_select(0, layout.tokens)
            self._known = (layout, positions, tuple(_whole_rows(self._batch, layout)))
        return self._known


@dataclass(frozen=True, eq=False)
class RelativeBlock:
    """The relative position bias of one block of rows, which no two rows share if any has lost a
    token.

    Attributes:
        by_distance: (heads, 2 * reach + 1) what is added at each distance.
        places: (rows, width) where each token stood, or (1, width) if that is the same in all rows.
        square: (heads, width, width) what is added if they do, None if it is not known.
    """

    by_distance: Tensor
    places: Tensor
    square: Tensor | None

    def of(self, queries: slice) -> Tensor:
        """(rows or 1, heads, queries, width) what is added to the logits."""
        if self.square is not None:
            return self.square[None, :, queries]
        return looked_up(self.by_distance, self.places, queries)


def looked_up(by_distance: Tensor, places: Tensor, queries: slice = slice(None)) -> Tensor:
    """What relative positions add to the logits of some queries.

    Args:
        by_distance: (heads, 2 * reach + 1) for distances from -reach to reach.
        places: (rows, width) where each token stands.
        queries: which of them are queries; all of them are keys.

    Returns:
        (rows, heads, queries, width).
    """
    index = distance_index(by_distance, places, queries)
    found = by_distance.index_select(1, index.flatten())
    return found.unflatten(1, index.shape).transpose(0, 1)


def distance_index(by_distance: Tensor, places: Tensor, queries: slice = slice(None)) -> Tensor:
    """(rows, queries, width) where :func:`looked_up` looks."""
    reach = by_distance.shape[1] // 2
    return places[:, None] - places[:, queries, None] + reach


def _whole_rows(batch: Batch, layout: Layout) -> list[bool]:
    """(R,) whether a live row has lost no token."""
    spans = [batch.spans[row] for row in layout.origin]
    return [n == span + 1 for n, span in zip(layout.lengths, spans, strict=True)]
