"""The kernels as operators of torch, so that autograd, compilation and FLOP counting see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from tokendrop.engine.blocks import TILE
from tokendrop.engine.ragged import kernels

MATMUL = 2  # FLOPs of a multiplication and an addition


@torch.library.custom_op("tokendrop::ragged_attention", mutates_args=())
def ragged_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    places: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    lengths: Sequence[int],
    reach: int,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Softmax attention of each row over itself, scaled by 1/sqrt(head size).

    Args:
        query: (T + spare, heads, head size), in fp32, bf16 or fp16; sums are in fp32.
        key: of the same shape and type.
        value: of the same shape and type.
        bias: (T,) in fp32, added to every attention logit of a key.
        places: (T,) where each token stood in its row as it came in; None for no window.
        offsets: (R + 1,) the first token of each row, and T at the end.
        tiles: (N, 2) int32: a row, and the first of the TILE tokens of it that a tile serves.
        lengths: of the rows, as on the host.
        reach: with ``places``, the largest distance at which a key is seen.
        dropout: probability of zeroing an attention probability.
        seed: of dropout, which depends on nothing else.

    Returns:
        the context (T + spare, heads, head size), 0 in the spare rows; and the log-sum-exp of each
        query's logits (heads, T), in fp32.
    """
    tokens = sum(lengths)
    context = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    context[tokens:] = 0
    logsumexp = query.new_empty(query.shape[1], tokens, dtype=torch.float32)
    kernels.forward[_grid(tiles, query)](
        query, key, value, _or(bias, query), _or(places, query), offsets, tiles, context, logsumexp,
        *_strides(query, key, value, context), tokens,
        *_numbers(query, reach, dropout, seed), **_flags(query, bias, places, dropout),
    )  # fmt: skip
    return context, logsumexp


@torch.library.custom_op("tokendrop::ragged_received", mutates_args=())
def ragged_received(
    query: Tensor,
    key: Tensor,
    logsumexp: Tensor,
    bias: Tensor | None,
    places: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    lengths: Sequence[int],
    reach: int,
    dropout: float,
    seed: int,
    diagonal: bool,
) -> Tensor:
    """The attention that each token received from its row, over all heads, after dropout.

    ``logsumexp`` is what :func:`ragged_attention` gave for the same arguments; ``diagonal`` says
    whether what a token paid to itself counts. Returns (T,) in fp32.
    """
    tokens = sum(lengths)
    sums = query.new_empty(query.shape[1], tokens, dtype=torch.float32)
    kernels.received[_grid(tiles, query)](
        query, key, _or(bias, query), _or(places, query), offsets, tiles, logsumexp, sums,
        *_strides(query, key), tokens, *_numbers(query, reach, dropout, seed),
        DIAGONAL=diagonal, **_flags(query, bias, places, dropout),
    )  # fmt: skip
    return sums.sum(0)


@torch.library.custom_op("tokendrop::ragged_attention_backward", mutates_args=())
def ragged_attention_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    context: Tensor,
    logsumexp: Tensor,
    bias: Tensor | None,
    places: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    lengths: Sequence[int],
    reach: int,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value and bias, given that of the context."""
    tokens, heads = sum(lengths), query.shape[1]
    gradient = gradient.contiguous()
    delta = (gradient.float() * context.float()).sum(-1)[:tokens].t().contiguous()
    to_query, to_key, to_value = (
        torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (query, key, value)
    )
    for to in (to_query, to_key, to_value):
        to[tokens:] = 0
    to_bias = query.new_empty(heads, tokens if bias is not None else 0, dtype=torch.float32)
    shared = (
        query, key, value, _or(bias, query), _or(places, query), offsets, tiles, logsumexp,
        gradient, delta,
    )  # fmt: skip
    numbers = (
        *_strides(query, key, value, gradient), tokens, *_numbers(query, reach, dropout, seed),
    )  # fmt: skip
    flags = _flags(query, bias, places, dropout)
    grid = _grid(tiles, query)
    kernels.backward_queries[grid](*shared, to_query, *numbers, **flags)
    kernels.backward_keys[grid](*shared, to_key, to_value, to_bias, *numbers, **flags)
    return to_query, to_key, to_value, to_bias.sum(0)


def _grid(tiles: Tensor, query: Tensor) -> tuple[int, int]:
    return len(tiles), query.shape[1]


def _or(given: Tensor | None, instead: Tensor) -> Tensor:
    """A kernel takes a pointer in any case; what is not given is not read."""
    return instead if given is None else given


def _strides(*states: Tensor) -> list[int]:
    return [stride for state in states for stride in state.stride()[:2]]


def _numbers(query: Tensor, reach: int, dropout: float, seed: int) -> tuple[Any, ...]:
    size = query.shape[2]
    return size, size**-0.5, reach, dropout, seed


def _flags(
    query: Tensor, bias: Tensor | None, places: Tensor | None, dropout: float
) -> dict[str, Any]:
    return {
        "BIAS": bias is not None,
        "WINDOW": places is not None,
        "DROPOUT": dropout > 0,
        "BLOCK": TILE,
        # a product of tiles needs 16 columns, and a power of 2
        "SIZE": max(16, 1 << (query.shape[2] - 1).bit_length()),
    }


# -- what torch asks of an operator ------------------------------------------------------------


@ragged_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    lengths = others[4]
    logsumexp = query.new_empty(query.shape[1], sum(lengths), dtype=torch.float32)
    return torch.empty(query.shape, dtype=query.dtype, device=query.device), logsumexp


@ragged_received.register_fake
def _(query: Tensor, key: Tensor, logsumexp: Tensor, *others: Any) -> Tensor:
    return logsumexp.new_empty(logsumexp.shape[1])


@ragged_attention_backward.register_fake
def _(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, context: Tensor,
    logsumexp: Tensor, bias: Tensor | None, *others: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    to_bias = query.new_empty(logsumexp.shape[1] if bias is not None else 0, dtype=torch.float32)
    states = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (query, key, value))
    return (*states, to_bias)  # type: ignore[return-value]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, bias, places, offsets, tiles, *ctx.numbers = inputs
    ctx.save_for_backward(query, key, value, *output, bias, places, offsets, tiles)


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    to_query, to_key, to_value, to_bias = ragged_attention_backward(gradient, *saved, *ctx.numbers)
    has_bias = saved[5] is not None and ctx.needs_input_grad[3]
    return to_query, to_key, to_value, to_bias if has_bias else None, *(None,) * 7


ragged_attention.register_autograd(_backward, setup_context=_remember)


def _products(count: int, query: Any, lengths: Sequence[int]) -> int:
    """FLOPs of so many products of queries and keys in every row and head."""
    _, heads, size = query
    return count * MATMUL * heads * size * sum(length**2 for length in lengths)


@register_flop_formula(torch.ops.tokendrop.ragged_attention)
def _(query: Any, *others: Any, out_shape: Any = None, **_: Any) -> int:
    return _products(2, query, others[6])


@register_flop_formula(torch.ops.tokendrop.ragged_received)
def _(*_: Any, out_shape: Any = None, **__: Any) -> int:
    """None: elsewhere they are read from probabilities that the attention has already made, and
    what a method costs must not depend on the device.
    """
    return 0


@register_flop_formula(torch.ops.tokendrop.ragged_attention_backward)
def _(gradient: Any, query: Any, *others: Any, out_shape: Any = None, **_: Any) -> int:
    """Logits once more and four gradients, as torch counts it for its own operator."""
    return _products(5, query, others[8])
