"""Sums, softmaxes and rankings over the tokens of each row of a packed batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tokendrop.engine.layout import Layout
from tokendrop.engine.ragged import kernels_on

HIGHEST = 70.0  # of what a weighted exponential is taken of, so that no sum of them overflows


def row_sum(values: Tensor, layout: Layout) -> Tensor:
    """Sum over the tokens of each row: (T, ...) to (R, ...). Booleans are counted."""
    layout.check("row_sum", values, numbers=False)
    return layout.sum(values.long() if values.dtype == torch.bool else values)


def row_max(values: Tensor, layout: Layout) -> Tensor:
    """Largest value in each row: (T, ...) to (R, ...). Of booleans, whether one is true."""
    layout.check("row_max", values, numbers=False)
    out = values.new_full((len(layout.lengths), *values.shape[1:]), _lowest(values.dtype))
    row = layout.row.view(-1, *[1] * (values.ndim - 1)).expand_as(values)
    return out.scatter_reduce(0, row, values, "amax")


def _lowest(kind: torch.dtype) -> float:
    if kind.is_floating_point:
        return -torch.inf
    return 0 if kind == torch.bool else torch.iinfo(kind).min


def row_softmax(scores: Tensor, layout: Layout, weight: Tensor | None = None) -> Tensor:
    """Softmax over the tokens of each row, in fp32: (T,) to (T,).

    A weight (T,) in [0, 1] multiplies each token's exponential: the softmax of
    ``scores + log(weight)``, without the rounding of that sum.
    """
    layout.check("row_softmax", scores)
    scores = scores.float()
    if weight is None:
        return layout.unpad(layout.pad(scores, -torch.inf).softmax(1))
    layout.check("row_softmax", weight)
    # a heavy token without weight must not push those that count into underflow
    top = scores.detach().masked_fill(weight <= 1e-6, -torch.inf)
    exponentials = (scores - row_max(top, layout)[layout.row]).clamp_max(HIGHEST).exp() * weight
    return exponentials / row_sum(exponentials, layout)[layout.row]


def row_rank(scores: Tensor, layout: Layout) -> Tensor:
    """0-based place of each token in the descending order of its row: (T,) to (T,).

    Of equal scores the earlier token comes first, so the answer does not depend on the batch; a
    score that is no number comes last.
    """
    layout.check("row_rank", scores)
    if kernels_on(scores.device):
        return _by_kernel(scores, layout)
    return layout.unpad(_ranks(layout.pad(scores.float(), -torch.inf)))


def _by_kernel(scores: Tensor, layout: Layout, *others: Any) -> Tensor:
    from tokendrop.engine.ragged.rows import row_rank

    return row_rank(scores.detach().float(), layout.offsets, layout.tiles, *others)


def _ranks(matrix: Tensor) -> Tensor:
    """The place of each element in the descending order of its row of a matrix."""
    matrix = matrix.masked_fill(matrix.isnan(), -torch.inf)
    order = matrix.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def top_k(
    scores: Tensor, counts: Sequence[int], layout: Layout, *, keep_first: bool = True
) -> Tensor:
    """The best tokens of each row, ``counts`` (R,) of them or all there are, as a (T,) mask.

    With ``keep_first`` a row's first token, [CLS], is always among them, also where a count is 0,
    as a share of a short row may be. Of equal scores the earlier token is the better one, and a
    score that is no number is the worst.
    """
    layout.check("top_k", scores, counts)
    if keep_first:
        counts = [max(1, count) for count in counts]
    if kernels_on(scores.device):
        return _by_kernel(scores, layout, layout.on_device(counts), keep_first)
    matrix = layout.pad(scores.float(), -torch.inf)
    if keep_first:
        matrix = torch.cat([matrix.new_full((len(matrix), 1), torch.inf), matrix[:, 1:]], 1)
    return layout.unpad(_ranks(matrix) < layout.on_device(counts)[:, None])
