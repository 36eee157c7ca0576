"""Weights in the lower precision of autocast, made by one call for a whole pass.

Autocast makes them one by one, and their gradients too: on a GPU that is a fourth of the operators
of a training step with a small batch, in which the host is what is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

DEVICES = frozenset({"cuda"})

_CAST: ContextVar[dict[nn.Linear, tuple[tuple[nn.Linear, ...], Tensor, Tensor | None]] | None] = (
    ContextVar("_CAST", default=None)
)


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer does what its weights say and nothing else.

    An adapter or a quantised layer in its place does something else, and hooks want to be called.
    """
    return type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks)


@contextmanager
def cast_once(groups: Iterable[Sequence[nn.Linear]], device: torch.device) -> Iterator[None]:
    """Let :func:`cast` give the weights of these linear layers, within.

    Args:
        groups: layers that read the same states and become one product.
        device: nothing is done for one on which launching is cheap, or without autocast.
    """
    several = []
    if device.type in DEVICES and torch.is_autocast_enabled(device.type):
        # layers may share theirs
        several = [some for some in dict.fromkeys(map(tuple, groups)) if all(map(is_plain, some))]
    if not several:
        yield
        return
    weights = [[layer.weight for layer in group] for group in several]
    # a group has biases in all of its layers or in none
    biases = [[layer.bias for layer in group if layer.bias is not None] for group in several]
    parts = weights + [some for some in biases if some]
    made = iter(
        _Cast.apply(  # type: ignore[no-untyped-call]
            torch.get_autocast_dtype(device.type),
            [len(part) for part in parts],
            *(parameter for part in parts for parameter in part),
        )
    )
    stacked = [next(made) for _ in several]
    token = _CAST.set(
        {
            group[0]: (group, weight, next(made) if some else None)
            for group, weight, some in zip(several, stacked, biases, strict=True)
        }
    )
    try:
        yield
    finally:
        _CAST.reset(token)


def cast(layers: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None] | None:
    """Weight (out, in) and bias (out,) of linear layers below each other, in lower precision.

    None where :func:`cast_once` does not know them.
    """
    known = _CAST.get()
    found = None if known is None else known.get(layers[0])
    return None if found is None or found[0] != tuple(layers) else found[1:]


class _Cast(torch.autograd.Function):
    """Parameters below each other, in groups, in another type."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, counts: list[int], *given: Tensor) -> Any:
        ctx.counts, ctx.sizes, ctx.type = counts, [len(x) for x in given], given[0].dtype
        ctx.set_materialize_grads(False)
        made, places, rest = [], [], list(given)
        for count in counts:
            group, rest = rest[:count], rest[count:]
            sizes = [len(x) for x in group]
            made.append(group[0].new_empty(sum(sizes), *group[0].shape[1:], dtype=dtype))
            places += made[-1].split(sizes)
        torch._foreach_copy_(places, list(given))
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        there = [x for x in gradients if x is not None]
        full = [torch.empty_like(x, dtype=ctx.type) for x in there]
        if there:
            torch._foreach_copy_(full, there)
        whole, sizes = iter(full), list(ctx.sizes)
        found: list[Tensor | None] = []
        for gradient, count in zip(gradients, ctx.counts, strict=True):
            own, sizes = sizes[:count], sizes[count:]
            found += [None] * count if gradient is None else next(whole).split(own)
        return None, None, *found
