"""Tokens that become one: what a :class:`Decision` with ``into`` does to states and places."""

from __future__ import annotations

import torch
from torch import Tensor

from tokendrop.engine.packed import Layout
from tokendrop.reducers.base import Decision


def merge(hidden: Tensor, decision: Decision) -> Tensor:
    """Each token becomes the weighted mean of those that go into it; spare rows lie behind."""
    into, weight = decision.into, decision.weight
    assert into is not None
    assert weight is not None
    total = torch.zeros_like(weight).index_add(0, into, weight)
    share = (weight / total[into])[:, None].to(hidden.dtype)
    return torch.zeros_like(hidden).index_add(0, into, hidden[: len(into)] * share)


def move(home: Tensor, layout: Layout, decision: Decision) -> Tensor:
    """Where original tokens find their state, after live ones have gone into others."""
    moved = torch.arange(len(home), device=home.device)
    moved = moved.index_copy(0, layout.tokens, layout.tokens[decision.into])
    return moved[home]


def staying(decision: Decision) -> Tensor | None:
    """(T,) which tokens are neither dropped nor merged into another."""
    if decision.into is None:
        return decision.keep
    own = decision.into == torch.arange(len(decision.into), device=decision.into.device)
    return own if decision.keep is None else own & decision.keep
