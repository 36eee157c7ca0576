"""Rows of a packed batch as dense blocks: what one call of an attention operator can serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def starts(lengths: Sequence[int]) -> NDArray[np.int64]:
    """Where rows of these lengths begin when laid end to end."""
    sizes = np.array(lengths, dtype=np.int64)
    return sizes.cumsum() - sizes


def spread(lengths: Sequence[int], begins: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of all tokens, row after row, where each row begins at its own place."""
    return np.arange(sum(lengths)) + np.repeat(begins - starts(lengths), lengths)


TILE = 64  # tokens of a row that one program of a GPU's kernel serves


def tiles(lengths: Sequence[int]) -> NDArray[np.int32]:
    """(N, 2) the tiles of all rows: a row, and the first token of it that the tile serves.

    Those of a row depend on its length alone.

    >>> tiles([64, 65]).tolist()
    [[0, 0], [1, 0], [1, 64]]
    """
    counts = -(-np.array(lengths, dtype=np.int64) // TILE)
    rows = np.repeat(np.arange(len(lengths)), counts)
    firsts = TILE * (np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts))
    return np.stack([rows, firsts], 1).astype(np.int32)


# squared tokens of padding that cost less than one more call, by the kind of device
WASTE = {"cpu": 1_200, "cuda": 1_000_000}


@dataclass(frozen=True, eq=False)
class Blocks:
    """Neighbouring rows of equal or nearly equal lengths, each block as wide as its longest row.

    Short rows are padded where that costs less than a call of their own; where no row is, the
    blocks are views of the packed tensor. S slots in all.

    Attributes:
        shapes: (rows, width) of each block.
        source: (S,) the packed token that each slot reads; a padding slot reads its row's first,
            so that a state that is no number spoils no other row. None if slots are tokens.
        real: (S,) the attention mask: false at padding slots, None if there are none.
        slots: (T,) the slot of each packed token, None if slots are tokens.
    """

    shapes: list[tuple[int, int]]
    source: Tensor | None = None
    real: Tensor | None = None
    slots: Tensor | None = None

    @classmethod
    @torch.inference_mode(False)
    def of(cls, lengths: Sequence[int], device: torch.device) -> Blocks:
        """The blocks of packed rows of these lengths; they serve a backward pass, too, later."""
        shapes = _joined(lengths, WASTE.get(device.type, 0))
        widths = [width for rows, width in shapes for _ in range(rows)]
        if widths == list(lengths):
            return cls(shapes)
        slots = spread(lengths, starts(widths))
        source, real = np.repeat(starts(lengths), widths), np.zeros(sum(widths), dtype=bool)
        source[slots], real[slots] = np.arange(len(slots)), True
        return cls(shapes, *(torch.from_numpy(x).to(device) for x in (source, real, slots)))


def _joined(lengths: Sequence[int], waste: int) -> list[tuple[int, int]]:
    """Blocks of neighbouring rows, as (rows, width): a row joins if the padding is worth it."""
    shapes: list[tuple[int, int]] = []
    for length in lengths:
        rows, width = shapes[-1] if shapes else (0, 0)
        wider = max(width, length)
        added = rows * (wider**2 - width**2) + wider**2 - length**2
        if rows and added <= waste:
            shapes[-1] = (rows + 1, wider)
        else:
            shapes.append((1, length))
    return shapes
