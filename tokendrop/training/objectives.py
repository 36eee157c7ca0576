"""Backward passes of a step in which groups of parameters follow different losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from tokendrop.errors import UserError
from tokendrop.reducers.base import Group


def objectives(groups: Sequence[Group]) -> list[frozenset[str]]:
    """The loss terms left out by some group; each such choice needs its own backward pass."""
    return sorted({group.ignores for group in groups}, key=sorted)


def backward(
    losses: Mapping[str, Tensor], groups: Sequence[Group], whole: Callable[[Tensor], object]
) -> None:
    """Add to each group the gradient of the loss terms that it follows.

    Args:
        losses: the terms of a pass by name.
        groups: who is trained.
        whole: the backward pass where all groups follow all terms.

    Raises:
        UserError: no term depends on a weight that is trained.
    """
    if not any(loss.requires_grad for loss in losses.values()):
        raise UserError(
            "no loss depends on a weight that learns, so there is nothing to train: name what "
            "learns in groups() rather than taking its requires_grad away, and do not detach losses"
        )
    # autocast would lower what the pass had in full precision, such as a method's own parts
    kind = next(iter(losses.values())).device.type
    with torch.autocast(kind, enabled=False):
        _backward(losses, groups, whole)


def _backward(
    losses: Mapping[str, Tensor], groups: Sequence[Group], whole: Callable[[Tensor], object]
) -> None:
    choices = objectives(groups)
    if choices == [frozenset()]:
        whole(torch.stack(list(losses.values())).sum())
        return
    for ignored in choices:
        total = torch.stack([v for k, v in losses.items() if k not in ignored]).sum()
        parameters = [
            parameter
            for group in groups
            if group.ignores == ignored
            for parameter in group.parameters.values()
            if parameter.requires_grad
        ]
        if not parameters or not total.requires_grad:  # they are frozen, or what they follow is
            continue
        gradients = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                held = parameter.grad
                parameter.grad = gradient if held is None else held + gradient
