"""Ranking, counting and gathering inside the rows of a packed tensor, each in one launch.

A method that drops tokens does this in every layer. By torch's operators it takes twenty launches,
a sort among them, which on a GPU is more than all else that a layer does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tokendrop.engine.blocks import TILE
from tokendrop.engine.ragged import row_kernels
from tokendrop.engine.ragged.define import define

STEP = 256  # tokens of a row that a program looks at together


def _rank(
    scores: Tensor, counts: Tensor | None, offsets: Tensor, tiles: Tensor, keep_first: bool
) -> Tensor:
    scores = scores.contiguous()
    found = _fake_rank(scores, counts, offsets, tiles, keep_first)
    counted = counts is not None
    row_kernels.rank[(len(tiles),)](
        scores, counts if counted else scores, offsets, tiles, found,
        KEEP_FIRST=keep_first, COUNTED=counted, BLOCK=TILE,
    )  # fmt: skip
    return found


def _count(mask: Tensor, offsets: Tensor) -> Tensor:
    found = _fake_count(mask, offsets)
    row_kernels.count[(len(found),)](mask.contiguous(), offsets, found, BLOCK=STEP)
    return found


def _gather(
    mask: Tensor, tokens: Tensor, offsets: Tensor, came: Tensor, begins: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    # spare rows are gathered from somewhere
    index, kept = tokens.new_zeros(size), tokens.new_empty(size)
    row_kernels.gather[(len(came),)](
        mask.contiguous(), tokens.contiguous(), offsets, came, begins, index, kept, BLOCK=STEP
    )
    return index, kept


def _fake_rank(
    scores: Tensor, counts: Tensor | None, offsets: Tensor, tiles: Tensor, keep_first: bool
) -> Tensor:
    kind = torch.long if counts is None else torch.bool
    return torch.empty(scores.shape, dtype=kind, device=scores.device)


def _fake_count(mask: Tensor, offsets: Tensor) -> Tensor:
    return offsets.new_empty(len(offsets) - 1)


def _fake_gather(mask: Tensor, tokens: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    size = others[-1]
    return tokens.new_empty(size), tokens.new_empty(size)


define(
    "row_rank(Tensor scores, Tensor? counts, Tensor offsets, Tensor tiles, bool keep_first) "
    "-> Tensor",
    _rank,
    _fake_rank,
)
define("row_count(Tensor mask, Tensor offsets) -> Tensor", _count, _fake_count)
define(
    "row_gather(Tensor mask, Tensor tokens, Tensor offsets, Tensor came, Tensor begins, "
    "SymInt size) -> (Tensor, Tensor)",
    _gather,
    _fake_gather,
)


def row_rank(
    scores: Tensor,
    offsets: Tensor,
    tiles: Tensor,
    counts: Tensor | None = None,
    keep_first: bool = False,
) -> Tensor:
    """The place of each token in the descending order of its row, or whether it is among the best.

    Of equal scores the earlier token is the better one; what is no number is the worst.

    Args:
        scores: (T,) in fp32.
        offsets: (R + 1,) the first token of each row, and T at the end.
        tiles: (N, 2) int32, see :func:`tokendrop.engine.blocks.tiles`.
        counts: (R,) how many tokens of each row are asked for.
        keep_first: whether a row's first token is the best whatever its score.

    Returns:
        (T,) places from 0, or with ``counts`` a mask.
    """
    found: Tensor = torch.ops.tokendrop.row_rank(scores, counts, offsets, tiles, keep_first)
    return found


def row_count(mask: Tensor, offsets: Tensor) -> Tensor:
    """(R,) tokens of each row where a mask (T,) is true."""
    found: Tensor = torch.ops.tokendrop.row_count(mask, offsets)
    return found


def row_gather(
    mask: Tensor, tokens: Tensor, offsets: Tensor, came: Tensor, begins: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Lay the tokens that a mask leaves end to end, in another order of rows.

    Args:
        mask: (T,) which ones stay.
        tokens: (T,) which token of the batch each one is.
        offsets: (R + 1,) the first token of each row, and T at the end.
        came: (R',) which row each of the new rows was.
        begins: (R' + 1,) the first token of each new row, and T' at the end.
        size: T' and spare rows behind them.

    Returns:
        (size,) where each token stood, 0 for spare rows; and (size,) which token it is.
    """
    found: tuple[Tensor, Tensor] = torch.ops.tokendrop.row_gather(
        mask, tokens, offsets, came, begins, size
    )
    return found
