"""Combining what several reducers say: their decisions, loss terms and parameter groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Group, View


def numbered(terms: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """Loss terms under names that no other part uses; the task's loss is everybody's."""
    return {_number(name, index): loss for name, loss in terms.items()}


def _number(term: str, index: int) -> str:
    return term if term == "task" else f"{term}_{index}"


def renamed(group: Group, index: int) -> Group:
    """The group with the names that the chain gives the loss terms of its part."""
    return replace(group, ignores=frozenset(_number(name, index) for name in group.ignores))


def narrowed(group: Group, other: Group) -> list[Group]:
    """The group, its parameters that are in another as well ignoring what that one ignores."""
    theirs = {id(parameter) for parameter in other.parameters.values()}
    both = {n: p for n, p in group.parameters.items() if id(p) in theirs}
    rest = {n: p for n, p in group.parameters.items() if id(p) not in theirs}
    narrower = replace(group, parameters=both, ignores=group.ignores | other.ignores)
    return [g for g in (narrower, replace(group, parameters=rest)) if g.parameters]


def combined(one: Decision, other: Decision, view: View) -> Decision:
    """Both decisions at once. The answer of a row is that of the first part that lets it leave."""

    def both(a: Tensor | None, b: Tensor | None, how: Callable[..., Tensor]) -> Tensor | None:
        return b if a is None else a if b is None else how(a, b)

    def first_answer(a: Tensor, b: Tensor) -> Tensor:
        assert one.leave is not None
        leaves, layout = one.leave, view.layout
        if view.by_token:  # answers are those of all tokens
            rows = leaves.new_zeros(len(view.batch)).index_copy(0, layout.rows, leaves)
            leaves = rows[view.batch.layout.row]
        return torch.where(leaves[:, None], a, b)

    if one.skip or other.skip:  # there nothing is dropped, whoever asks for it
        return Decision(skip=True)
    if one.into is not None and other.into is not None:
        raise UserError("two parts of a chain merge tokens in the same layer: take one of them")
    removing = [d for d in (one, other) if d.keep is not None or d.into is not None]
    return Decision(
        keep=both(one.keep, other.keep, torch.logical_and),
        counts=removing[0].counts if len(removing) == 1 else None,
        scale=both(one.scale, other.scale, torch.mul),
        into=one.into if other.into is None else other.into,
        weight=one.weight if other.into is None else other.weight,
        key_bias=both(one.key_bias, other.key_bias, torch.add),
        leave=both(one.leave, other.leave, torch.logical_or),
        answer=both(one.answer, other.answer, first_answer),
    )
