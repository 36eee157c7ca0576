"""Where the rows of a packed tensor lie, and what follows from that.

Dropping tokens and retiring whole rows are the same operation, :meth:`Layout.keep`. Everything here
is a pure function of tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokendrop.engine.blocks import Blocks, spread, starts
from tokendrop.engine.facts import FACTS, send, send_all
from tokendrop.engine.ragged import kernels_on
from tokendrop.errors import UserError


def kept_rows(counts: Sequence[int]) -> list[int]:
    """The rows of which something stays, in the order in which :meth:`Layout.keep` lays them.

    >>> kept_rows([3, 0, 1, 1])
    [2, 3, 0]
    """
    return sorted((r for r, count in enumerate(counts) if count), key=counts.__getitem__)


def _are_whole(counts: Any, rows: int) -> bool:
    """Whether these are so many whole numbers."""
    try:
        found = np.asarray(counts)
    except (TypeError, ValueError):  # a tensor on a GPU, lists of several lengths
        return False
    return found.shape == (rows,) and (found.dtype.kind in "iu" or not rows)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where R live rows lie in a packed tensor of T live tokens.

    Attributes:
        lengths: tokens of each live row, on the host, in packed order.
        origin: the row of the original batch that each live row is, on the host.
        tokens: (T,) the index in the original packed batch of each live token.

    Everything else follows from the lengths, so it is worked out on the host, in numpy, and no
    device is waited for.
    """

    lengths: tuple[int, ...]
    origin: tuple[int, ...]
    tokens: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device | str = "cpu") -> Layout:
        """The layout of a fresh batch whose rows have these lengths (each at least 1)."""
        if any(length < 1 for length in lengths):
            raise ValueError(f"every row needs at least one token, got lengths {list(lengths)}")
        return cls(
            tuple(lengths), tuple(range(len(lengths))), torch.arange(sum(lengths), device=device)
        )

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    @cached_property
    def _facts(self) -> dict[str, Tensor]:
        """Those of FACTS that were asked for, on the device; all at once on a GPU."""
        return send_all(self.lengths, self.device) if self.device.type == "cuda" else {}

    def _fact(self, name: str) -> Tensor:
        known = self._facts
        if name not in known:
            known[name] = send(FACTS[name](self.lengths), self.device)
        return known[name]

    @property
    def first(self) -> Tensor:
        """(R,) the first token of each row: [CLS] as long as nobody dropped it."""
        return self._fact("first")

    @property
    def offsets(self) -> Tensor:
        """(R + 1,) the first token of each row, and T at the end."""
        return self._fact("offsets")

    @property
    def cu_seqlens(self) -> Tensor:
        """(R + 1,) the same in int32, by the name that kernels give it."""
        return self._fact("cu_seqlens")

    @cached_property
    def rows(self) -> Tensor:
        """(R,) the row of the original batch that each live row is."""
        return self.on_device(self.origin)

    @property
    def row(self) -> Tensor:
        """(T,) the live row, 0..R-1, of each token."""
        return self._fact("row")

    @property
    def sizes(self) -> Tensor:
        """(R,) tokens of each row, on the device."""
        return self._fact("sizes")

    @property
    def is_first(self) -> Tensor:
        """(T,) true at the first token of each row."""
        return self._fact("is_first")

    @property
    def tiles(self) -> Tensor:
        """(N, 2) the rows cut into tiles, for a GPU's kernels; see :func:`blocks.tiles`."""
        return self._fact("tiles")

    @property
    def _slots(self) -> Tensor | None:
        """(T,) the slot of each token in a padded matrix, None where no row needs padding."""
        return None if max(self.lengths) == min(self.lengths) else self._fact("slots")

    def on_device(self, numbers: Sequence[int] | NDArray[Any]) -> Tensor:
        """Numbers that the host knows, beside the tokens; the device is not waited for."""
        values = numbers if isinstance(numbers, np.ndarray) else np.array(numbers, dtype=np.int64)
        return send(values, self.device)

    def check(self, what: str, values: object, counts: Any = None, *, numbers: bool = True) -> None:
        """Find out whether values belong to the live tokens, which torch says in words of its own.

        Args:
            what: the function that was given them.
            values: (T,), or (T, ...) where they need not be ``numbers``.
            counts: (R,) whole numbers, if it takes some.
            numbers: whether each token has a single one.

        Raises:
            UserError: they do not.
        """
        tokens, rows = len(self.tokens), len(self.lengths)
        shape = list(values.shape) if isinstance(values, Tensor) else None
        if shape is None or shape[:1] != [tokens] or (numbers and len(shape) > 1):
            given = type(values).__name__ if shape is None else f"tensor of shape {shape}"
            each = "one number" if numbers else "values"
            raise UserError(
                f"{what} was given a {given}: give a tensor with {each} for each of the {tokens} "
                "live tokens, which are layout.tokens of the batch"
            )
        if counts is not None and not _are_whole(counts, rows):
            raise UserError(
                f"{what} was given the counts {counts}: give a list with a whole number for each "
                f"of the {rows} live rows, which are layout.rows of the batch"
            )

    def pad(self, values: Tensor, fill: float) -> Tensor:
        """(T,) values as a matrix (R, longest), with ``fill`` behind the end of shorter rows."""
        shape = (len(self.lengths), max(self.lengths))
        slots = self._slots
        if slots is None:
            return values.view(shape)
        return values.new_full(shape, fill).flatten().index_copy(0, slots, values).view(shape)

    def unpad(self, matrix: Tensor) -> Tensor:
        """The (T,) values that :meth:`pad` laid out in a matrix (R, longest)."""
        flat = matrix.flatten()
        return flat if self._slots is None else flat.index_select(0, self._slots)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the tokens of each row: (T, ...) to (R, ...)."""
        if values.is_cuda and values.is_floating_point():
            # index_add would add in another order each time, and round differently
            return torch.segment_reduce(values, "sum", offsets=self.offsets, axis=0)
        out = values.new_zeros(len(self.lengths), *values.shape[1:])
        return out.index_add(0, self.row, values)

    @cached_property
    def blocks(self) -> Blocks:
        """The rows as dense blocks for attention."""
        return Blocks.of(self.lengths, self.device)

    def counts(self, mask: Tensor) -> list[int]:
        """(R,) tokens of each row where a mask (T,) is true, read back from the device."""
        if kernels_on(self.device):
            from tokendrop.engine.ragged.rows import row_count

            return row_count(mask, self.offsets).tolist()
        rows = torch.zeros(len(self.lengths), dtype=torch.long, device=self.device)
        return rows.index_add(0, self.row, mask.long()).tolist()

    @cached_property
    def pairs(self) -> int:
        """Pairs of a query and a key in all rows: the sum of the squared lengths."""
        return sum(length**2 for length in self.lengths)

    def keep(
        self,
        mask: Tensor,
        counts: Sequence[int] | None = None,
        spare_rows: Callable[[int], int] = lambda tokens: 0,
    ) -> tuple[Tensor, Layout]:
        """Compact to the tokens where ``mask`` (T,) is true; rows left empty disappear.

        Rows are laid in ascending order of their new length, so that equal lengths are neighbours;
        the tokens of a row keep their order.

        Args:
            mask: which tokens stay.
            counts: how many of each row do, where that is known; else they are read back from the
                device.
            spare_rows: how many to gather behind so many tokens, of whatever token.

        Returns:
            the (T' + spare,) gather index into the present tokens, and the layout after the gather.
        """
        if counts is None:
            counts = self.counts(mask)
        order = kept_rows(counts)
        lengths = tuple(counts[r] for r in order)
        origin = tuple(self.origin[r] for r in order)
        total = sum(lengths)
        spare = spare_rows(total)
        if order and kernels_on(self.device):
            from tokendrop.engine.ragged.rows import row_gather

            facts = send_all(lengths, self.device, came=np.array(order))
            begins = self.offsets, facts["came"], facts["offsets"]
            index, tokens = row_gather(mask, self.tokens, *begins, total + spare)
            kept = Layout(lengths, origin, tokens[:total])
            vars(kept)["_facts"] = facts
            return index, kept
        index = mask.nonzero_static(size=total + spare, fill_value=0).squeeze(1)
        if order != sorted(order):
            places = spread(lengths, starts(counts)[order])
            places = np.append(places, np.full(spare, total)) if spare else places
            index = index.index_select(0, self.on_device(places))
        tokens = self.tokens.index_select(0, index[:total] if spare else index)
        return index, Layout(lengths, origin, tokens)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Layout:
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Layout:
        return self._map(lambda value: value.pin_memory())

    def _map(self, move: Callable[[Tensor], Tensor]) -> Layout:
        return Layout(self.lengths, self.origin, move(self.tokens))
