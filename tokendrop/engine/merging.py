"""Tokens that become one: what a :class:`Decision` with ``into`` does to states and places."""

from __future__ import annotations

import torch
from torch import Tensor

from tokendrop.engine.layout import Layout
from tokendrop.reducers.base import Decision


def merge(hidden: Tensor, decision: Decision) -> Tensor:
    """Each token becomes the weighted mean of those that go into it; spare rows lie behind."""
    into, weight = decision.into, decision.weight
    assert into is not None
    assert weight is not None
    total = _gathered(weight, into, len(weight))
    share = (weight / total[into])[:, None].to(hidden.dtype)
    return _gathered(hidden[: len(into)] * share, into, len(hidden))


def _gathered(values: Tensor, into: Tensor, size: int) -> Tensor:
    """(size, ...) the sums of the (T, ...) values that go into each place."""
    if not values.is_cuda:
        return values.new_zeros(size, *values.shape[1:]).index_add(0, into, values)
    # in the order of the tokens, where index_add would take another order each time
    order = into.argsort(stable=True)
    begins = torch.searchsorted(into[order], torch.arange(size + 1, device=into.device))
    return torch.segment_reduce(values[order], "sum", offsets=begins, axis=0)


def move(home: Tensor, layout: Layout, decision: Decision) -> Tensor:
    """Where original tokens find their state, after live ones have gone into others."""
    moved = torch.arange(len(home), device=home.device)
    moved = moved.index_copy(0, layout.tokens, layout.tokens[decision.into])
    return moved[home]
