"""Attention with its probabilities at hand, and how training does without keeping them.

A training step would hold three numbers for each probability of each layer until its backward
pass: softmax, dropout and what is multiplied with the values. For 32 rows of 512 tokens that is
more than the rest of the model together. Here it holds one byte, whether dropout kept it, and makes
the rest anew on the way back, in pieces that stay in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tokendrop.engine.dropout import draw
from tokendrop.engine.positions import distance_index, looked_up

Received = Literal["with_diagonal", "without_diagonal"]

CACHED = 1 << 19  # probabilities at a time on a CPU: 2 MiB


def autocast(*states: Tensor) -> Iterator[Tensor]:
    """States in autocast's type, for functions of our own, which it does not cast by itself."""
    kind = states[0].device.type
    half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return (x if half is None else x.to(half) for x in states)


def probabilities(query: Tensor, key: Tensor, added: Tensor | None) -> Tensor:
    """Softmax over the keys, in fp32.

    Args:
        query: (rows, heads, queries, head size).
        key: (rows, heads, width, head size).
        added: to the logits, of a shape that broadcasts to (rows, heads, queries, width).

    Returns:
        (rows, heads, queries, width).
    """
    rows, heads, _, size = query.shape
    q, k = query.flatten(0, 1), key.flatten(0, 1).transpose(1, 2)
    # one operator for the product and its scale; what it would add is multiplied by 0
    logits = torch.baddbmm(q.new_zeros(()), q, k, beta=0, alpha=size**-0.5).float()
    logits = logits.unflatten(0, (rows, heads))
    return (logits if added is None else logits + added).softmax(-1)


def votes(found: Tensor, received: Received, real: Tensor | None, start: int = 0) -> Tensor:
    """The attention that each token received from some queries, over all heads.

    Args:
        found: (rows, heads, queries, width) probabilities.
        received: whether what a token paid to itself counts.
        real: (rows, width) false for padding, which does not vote.
        start: the first of the queries.

    Returns:
        (rows, width).
    """
    queries = slice(start, start + found.shape[2])
    if real is not None:
        found = found * real[:, None, queries, None]
    voted = found.sum((1, 2))
    if received == "without_diagonal":
        voted[:, queries] -= found.diagonal(offset=start, dim1=-2, dim2=-1).sum(1)
    return voted


class Attention(torch.autograd.Function):
    """Softmax attention with dropout for training.

    Applied to query, key and value (rows, heads, width, head size) of one floating-point type, what
    is added to the logits (fp32 or None), the probability of dropout, what :func:`votes` takes, and
    the relative positions that :func:`tokendrop.engine.positions.looked_up` takes (or None), it
    returns the context (rows, heads, width, head size) and, if asked for, the attention received
    (rows, width), which carries no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        added: Tensor | None,
        dropout: float,
        received: Received | None,
        real: Tensor | None,
        by_distance: Tensor | None,
        places: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        rows, _, width, _ = query.shape
        context = torch.empty_like(value)
        total = query.new_zeros(rows, width, dtype=torch.float32) if received else None
        drawn = []
        for piece in _pieces(query):
            shift = _shift(added, by_distance, places, piece)
            found = probabilities(query[piece], key[piece], shift)
            kept, ctx.scale = draw(found, dropout)
            found = _dropped(found, kept)
            context[piece] = found.to(value.dtype) @ value[piece]
            drawn.append(kept)
            if total is not None and received is not None:
                total[piece[0]] += votes(found, received, _of(real, piece))
        ctx.save_for_backward(query, key, value, added, by_distance, places, *drawn)
        ctx.set_materialize_grads(False)
        if total is not None:
            total *= ctx.scale
            ctx.mark_non_differentiable(total)
        return context.mul_(ctx.scale), total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
        query, key, value, added, by_distance, places, *drawn = ctx.saved_tensors
        if gradient is None:
            return (None,) * 9
        gradient = gradient.contiguous() * ctx.scale
        to_query, to_key, to_value = (torch.empty_like(x) for x in (query, key, value))
        to_added = torch.zeros_like(added) if ctx.needs_input_grad[3] else None
        to_distance = None
        if ctx.needs_input_grad[7]:
            to_distance = torch.zeros_like(by_distance, dtype=torch.float32)
        size = query.shape[-1]
        for piece, kept in zip(_pieces(query), drawn, strict=True):
            shift = _shift(added, by_distance, places, piece)
            before = probabilities(query[piece], key[piece], shift)
            factor = None if kept is None else kept.to(before.dtype)
            after = before if factor is None else before * factor
            to_value[piece] = after.to(value.dtype).transpose(2, 3) @ gradient[piece]
            to_after = (gradient[piece] @ value[piece].transpose(2, 3)).float()
            to_after = to_after if factor is None else to_after.mul_(factor)
            to_logits = torch.ops.aten._softmax_backward_data(to_after, before, -1, torch.float32)
            if to_added is not None:
                to_added[piece[0]] += to_logits.sum_to_size(to_added[piece[0]].shape)
            if to_distance is not None:
                _count(to_logits, places, piece, to_distance)
            to_logits = to_logits.to(query.dtype)
            to_query[piece] = to_logits @ key[piece]
            to_key[piece] = to_logits.transpose(2, 3) @ query[piece]
        scale = size**-0.5
        to_query, to_key = to_query.mul_(scale), to_key.mul_(scale)
        return to_query, to_key, to_value, to_added, None, None, None, to_distance, None


def _pieces(query: Tensor) -> Iterator[tuple[slice, slice]]:
    """Rows and heads that fit into a CPU's cache; everything at once elsewhere."""
    rows, heads, width, _ = query.shape
    most = CACHED // width**2 if query.device.type == "cpu" else rows * heads
    many_heads = min(heads, max(1, most))
    many_rows = max(1, most // heads)
    for row in range(0, rows, many_rows):
        for head in range(0, heads, many_heads):
            yield slice(row, row + many_rows), slice(head, head + many_heads)


def _of(given: Tensor | None, piece: tuple[slice, slice]) -> Tensor | None:
    """The part for a piece's rows of what all heads share."""
    return None if given is None else given[piece[0]]


def _shift(
    added: Tensor | None,
    by_distance: Tensor | None,
    places: Tensor | None,
    piece: tuple[slice, slice],
) -> Tensor | None:
    """All that is added to the logits of a piece."""
    shared = _of(added, piece)
    if by_distance is None or places is None:
        return shared
    biases = looked_up(by_distance[piece[1]], _places_of(places, piece))
    return biases if shared is None else biases + shared


def _places_of(places: Tensor, piece: tuple[slice, slice]) -> Tensor:
    """The places of a piece's tokens, (1, width) if those of all rows are the same."""
    return places if places.shape[0] == 1 else places[piece[0]]


def _count(
    to_logits: Tensor, places: Tensor, piece: tuple[slice, slice], to_distance: Tensor
) -> None:
    """Add the gradient of a piece's logits (rows, heads, width, width) to that of the distances."""
    to_heads, places = to_distance[piece[1]], _places_of(places, piece)
    to_logits = to_logits.sum(0) if len(places) == 1 else to_logits.transpose(0, 1)
    index = distance_index(to_heads, places).flatten().expand(len(to_heads), -1)
    to_heads.scatter_add_(1, index, to_logits.flatten(1))


def _dropped(values: Tensor, kept: Tensor | None) -> Tensor:
    return values if kept is None else values.mul_(kept.to(values.dtype))
