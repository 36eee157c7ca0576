"""The packed batch: rows of different lengths laid end to end, with no padding anywhere.

A batch of B rows holds T = n_1 + ... + n_B tokens and is a tensor of shape ``(T, ...)`` beside a
:class:`tokendrop.engine.layout.Layout` that says where each row lies, in place of an attention
mask. Its ``offsets`` are what attention kernels for variable lengths call ``cu_seqlens``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tokendrop.engine.facts import send
from tokendrop.engine.layout import Layout


@dataclass(frozen=True, eq=False)
class Batch:
    """A packed batch of examples, in the order given.

    Attributes:
        input_ids, token_type_ids, positions: (T,) per token; positions count from 0 in each row.
        layout: where the rows lie.
        labels: None where nothing is known, else (B,) classes, (B,) numbers (float), (T,) tags
            with IGNORED at tokens that are not scored, or (B, 2) first and last token of the
            answer, counted in each row.
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
        labels: Sequence[int] | Sequence[float] | Sequence[tuple[int, int]] | None = None,
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
        )._knowing(
            spans=tuple(length - 1 for length in lengths),
            numbers=() if examples is None else tuple(examples),
        )

    @cached_property
    def spans(self) -> tuple[int, ...]:
        """(B,) how far from its first token the last one of each row stands, on the host."""
        layout = self.layout
        last = self.positions[layout.offsets[1:] - 1]
        return tuple((last - self.positions[layout.first]).tolist())

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """(B,) the examples on the host, none where they are not known."""
        return () if self.examples is None else tuple(self.examples.tolist())

    def told(self, values: Sequence[Tensor]) -> Tensor:
        """(T,) of what is known beforehand of the tokens of all examples, that of its own rows.

        Args:
            values: (tokens,) numbers for each example of the split, on the host.
        """
        found = torch.cat([values[number] for number in self.numbers])
        return send(found.numpy(), self.layout.device)

    def _knowing(self, **known: tuple[int, ...]) -> Batch:
        """Itself, with what the host knows of it, which then is not read back from a device."""
        vars(self).update(known)
        return self

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
        )._knowing(**{k: v for k, v in vars(self).items() if k in ("spans", "numbers")})
