"""The packed batch: rows of different lengths laid end to end, with no padding anywhere.

A batch of B rows holds T = n_1 + ... + n_B tokens and is a tensor of shape ``(T, ...)`` beside a
:class:`Layout` that says where each row lies. Dropping tokens and retiring whole rows are the same
operation, :meth:`Layout.keep`. Everything here is a pure function of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Layout:
    """Where R live rows lie in a packed tensor of T live tokens.

    Attributes:
        lengths: tokens of each live row, on the host, in packed order.
        rows: (R,) the row of the original batch that each live row is.
        tokens: (T,) the index in the original packed batch of each live token.
        offsets: (R + 1,) first token of each row, closed by T.
    """

    lengths: tuple[int, ...]
    rows: Tensor
    tokens: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device | str = "cpu") -> Layout:
        """The layout of a fresh batch whose rows have these lengths (each at least 1)."""
        if any(length < 1 for length in lengths):
            raise ValueError(f"every row needs at least one token, got lengths {list(lengths)}")
        return cls(
            tuple(lengths),
            torch.arange(len(lengths), device=device),
            torch.arange(sum(lengths), device=device),
            _offsets(lengths, device),
        )

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    @property
    def first(self) -> Tensor:
        """(R,) the first token of each row: [CLS] as long as nobody dropped it."""
        return self.offsets[:-1]

    @cached_property
    def row(self) -> Tensor:
        """(T,) the live row, 0..R-1, of each token."""
        return torch.repeat_interleave(self.sizes, output_size=sum(self.lengths))

    @cached_property
    def sizes(self) -> Tensor:
        """(R,) tokens of each row, on the device."""
        return self.offsets[1:] - self.offsets[:-1]

    @cached_property
    def is_first(self) -> Tensor:
        """(T,) true at the first token of each row."""
        mask = torch.zeros(sum(self.lengths), dtype=torch.bool, device=self.device)
        mask[self.first] = True
        return mask

    @cached_property
    def runs(self) -> list[tuple[int, int]]:
        """Neighbouring rows of equal length, as (rows, length): what one dense call can serve."""
        return [(len(list(group)), length) for length, group in groupby(self.lengths)]

    def keep(self, mask: Tensor) -> tuple[Tensor, Layout]:
        """Compact to the tokens where ``mask`` (T,) is true; rows left empty disappear.

        Rows are laid in ascending order of their new length, so that equal lengths are neighbours;
        the tokens of a row keep their order.

        Returns:
            the (T',) gather index into the present tokens, and the layout after the gather.
        """
        counts = row_sum(mask, self).tolist()
        order = sorted((r for r, count in enumerate(counts) if count), key=counts.__getitem__)
        index = mask.nonzero().squeeze(1)
        lengths = [counts[r] for r in order]
        if order != sorted(order):
            rank = torch.zeros(len(counts), dtype=torch.long)
            rank[order] = torch.arange(len(order))
            index = index[rank.to(self.device)[self.row[index]].argsort(stable=True)]
        live = torch.tensor(order, dtype=torch.long, device=self.device)
        after = Layout(
            tuple(lengths), self.rows[live], self.tokens[index], _offsets(lengths, self.device)
        )
        return index, after

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Layout:
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Layout:
        return self._map(lambda value: value.pin_memory())

    def _map(self, move: Callable[[Tensor], Tensor]) -> Layout:
        return Layout(self.lengths, move(self.rows), move(self.tokens), move(self.offsets))


def _offsets(lengths: Sequence[int], device: torch.device | str) -> Tensor:
    return torch.tensor([0, *lengths], device=device).cumsum(0)


@dataclass(frozen=True, eq=False)
class Batch:
    """A packed batch of examples, in the order given.

    Attributes:
        input_ids, token_type_ids, positions: (T,) per token; positions count from 0 in each row.
        layout: where the rows lie.
        labels: (B,) classes, or None where nothing is known.
        examples: (B,) the number of each example in its split, by which results are matched.
    """

    input_ids: Tensor
    token_type_ids: Tensor
    positions: Tensor
    layout: Layout
    labels: Tensor | None = None
    examples: Tensor | None = None

    @classmethod
    def pack(
        cls,
        input_ids: Sequence[Sequence[int]],
        token_type_ids: Sequence[Sequence[int]] | None = None,
        labels: Sequence[int] | Sequence[float] | None = None,
        examples: Sequence[int] | None = None,
    ) -> Batch:
        """Lay rows of token ids end to end. Token types default to 0."""
        lengths = [len(row) for row in input_ids]
        types = token_type_ids or [[0] * length for length in lengths]
        return cls(
            torch.tensor([i for row in input_ids for i in row]),
            torch.tensor([t for row in types for t in row]),
            torch.cat([torch.arange(length) for length in lengths]),
            Layout.of(lengths),
            None if labels is None else torch.tensor(labels),
            None if examples is None else torch.tensor(examples),
        )

    def __len__(self) -> int:
        """Rows of the batch."""
        return len(self.layout.lengths)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        return self._map(lambda value: value.pin_memory())

    def _map(self, move: Callable[[Any], Any]) -> Batch:
        return Batch(
            move(self.input_ids),
            move(self.token_type_ids),
            move(self.positions),
            move(self.layout),
            None if self.labels is None else move(self.labels),
            None if self.examples is None else move(self.examples),
        )


def row_sum(values: Tensor, layout: Layout) -> Tensor:
    """Sum over the tokens of each row: (T, ...) to (R, ...). Booleans are counted."""
    values = values.long() if values.dtype == torch.bool else values
    out = values.new_zeros(len(layout.lengths), *values.shape[1:])
    return out.index_add(0, layout.row, values)


def row_max(values: Tensor, layout: Layout) -> Tensor:
    """Largest value in each row: (T,) to (R,)."""
    out = values.new_full((len(layout.lengths),), -torch.inf)
    return out.scatter_reduce(0, layout.row, values, "amax")


def row_softmax(scores: Tensor, layout: Layout, weight: Tensor | None = None) -> Tensor:
    """Softmax over the tokens of each row, in fp32: (T,) to (T,).

    A weight (T,) in [0, 1] multiplies each token's exponential: the softmax of
    ``scores + log(weight)``, without the rounding of that sum.
    """
    scores = scores.float()
    top = scores.detach()
    if weight is not None:
        # a heavy token without weight must not push those that count into underflow
        top = top.masked_fill(weight <= 1e-6, -torch.inf)
    exponentials = (scores - row_max(top, layout)[layout.row]).clamp_max(70.0).exp()
    exponentials = exponentials if weight is None else exponentials * weight
    return exponentials / row_sum(exponentials, layout)[layout.row]


def row_rank(scores: Tensor, layout: Layout) -> Tensor:
    """0-based place of each token in the descending order of its row: (T,) to (T,).

    Of equal scores the earlier token comes first, so the answer does not depend on the batch.
    """
    order = scores.float().argsort(descending=True, stable=True)
    order = order[layout.row[order].argsort(stable=True)]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - layout.first[layout.row[order]]
    return rank


def top_k(scores: Tensor, count: Tensor, layout: Layout, *, keep_first: bool = True) -> Tensor:
    """The ``count`` (R,) best tokens of each row, as a (T,) mask.

    With ``keep_first`` a row's first token, [CLS], is always among them.
    """
    if keep_first:
        scores = scores.float().masked_fill(layout.is_first, torch.inf)
    return row_rank(scores, layout) < count[layout.row]
