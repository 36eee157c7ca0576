"""The kernels as operators of torch, so that compilation and FLOP counting see them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from tokendrop.engine.blocks import TILE
from tokendrop.engine.ragged import kernels
from tokendrop.engine.ragged.define import define

MATMUL = 2  # FLOPs of a multiplication and an addition

# what all operators are told: where the rows lie and which keys a query sees
_SHARED = (
    "Tensor? bias, Tensor? places, Tensor? relative, Tensor? bucket, Tensor offsets, Tensor tiles, "
    "SymInt tokens, SymInt pairs, int reach, float dropout, int seed"
)


class _Shared(NamedTuple):
    """What all operators are told, as :func:`ragged_attention` says."""

    bias: Tensor | None
    places: Tensor | None
    relative: Tensor | None
    bucket: Tensor | None
    offsets: Tensor
    tiles: Tensor
    tokens: int
    pairs: int
    reach: int
    dropout: float
    seed: int

    def pointers(self, instead: Tensor) -> list[Tensor]:
        """A kernel takes a pointer in any case; what is not given is not read."""
        return [instead if given is None else given for given in self[:6]]

    def numbers(self, size: int) -> tuple[Any, ...]:
        middle = 0 if self.bucket is None else len(self.bucket) // 2
        return self.tokens, size**-0.5, self.reach, middle, self.dropout, self.seed

    def flags(self, query: Tensor) -> dict[str, Any]:
        return tile_of(query.dtype, query.shape[2]) | {
            "BIAS": self.bias is not None,
            "WINDOW": self.places is not None and self.reach >= 0,
            "BUCKETS": 0 if self.relative is None else self.relative.shape[1],
            "DROPOUT": self.dropout > 0,
        }


def tile_of(kind: torch.dtype, size: int) -> dict[str, int]:
    """What a program works on, by the type of the states and the size of a head: constants of all
    kernels, and how many warps run it.
    """
    # a product of tiles needs 16 columns, and a power of 2
    columns = max(16, 1 << (size - 1).bit_length())
    # fp32 products are made in registers, from which larger ones would spill into memory
    step, warps = (32 if columns <= 64 else 16, 8) if kind == torch.float32 else (TILE, 4)
    return {"BLOCK": TILE, "STEP": step, "SIZE": size, "COLUMNS": columns, "num_warps": warps}


def _attention(query: Tensor, key: Tensor, value: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    shared, (heads, size) = _Shared(*others), query.shape[1:]
    context = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    logsumexp = torch.empty((heads, shared.tokens), dtype=torch.float32, device=query.device)
    kernels.forward[len(shared.tiles), heads](
        query, key, value, *shared.pointers(query), context, logsumexp,
        query.stride(0), key.stride(0), value.stride(0), *shared.numbers(size),
        **shared.flags(query),
    )  # fmt: skip
    return context, logsumexp


def _received(query: Tensor, key: Tensor, logsumexp: Tensor, *others: Any) -> Tensor:
    *given, diagonal = others
    shared, (heads, size) = _Shared(*given), query.shape[1:]
    sums = torch.empty((heads, shared.tokens), dtype=torch.float32, device=query.device)
    kernels.received[len(shared.tiles), heads](
        query, key, *shared.pointers(query), logsumexp, sums,
        query.stride(0), key.stride(0), *shared.numbers(size),
        DIAGONAL=diagonal, **shared.flags(query),
    )  # fmt: skip
    return sums.sum(0)


def _attention_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    context: Tensor,
    logsumexp: Tensor,
    *others: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    shared, (heads, size) = _Shared(*others), query.shape[1:]
    tokens, grid = shared.tokens, (len(shared.tiles), heads)
    make = torch.empty if len(query) == tokens else torch.zeros  # nothing leads to spare rows
    shape, device = query.shape, query.device
    to_query, to_key, to_value = (make(shape, dtype=query.dtype, device=device) for _ in range(3))
    delta = torch.empty((heads, tokens), dtype=torch.float32, device=device)
    flags = shared.flags(query)
    # each program has its own, and they are summed in one order
    to_bias = delta.new_empty(heads, tokens if shared.bias is not None else 0)
    to_relative = delta.new_empty(heads, grid[0], flags["BUCKETS"])
    read = (query, key, value, *shared.pointers(query))
    numbers = (query.stride(0), key.stride(0), value.stride(0), *shared.numbers(size))
    gradient = gradient.contiguous()
    # the second reads the delta that the first has left
    kernels.backward_queries[grid](
        *read, context, logsumexp, gradient, delta, to_query, to_relative, *numbers, **flags
    )
    kernels.backward_keys[grid](
        *read, logsumexp, gradient, delta, to_key, to_value, to_bias, *numbers, **flags
    )
    return (
        to_query, to_key, to_value,
        to_bias[0] if shared.bias is None else to_bias.sum(0),
        to_relative[:, 0] if shared.relative is None else to_relative.sum(1),
    )  # fmt: skip


def _fake_attention(query: Tensor, key: Tensor, value: Tensor, *shared: Any) -> Any:
    logsumexp = query.new_empty(query.shape[1], _Shared(*shared).tokens, dtype=torch.float32)
    return torch.empty(query.shape, dtype=query.dtype, device=query.device), logsumexp


def _fake_received(query: Tensor, key: Tensor, logsumexp: Tensor, *shared: Any) -> Any:
    return logsumexp.new_empty(logsumexp.shape[1])


def _fake_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *others: Any
) -> Any:
    _, logsumexp, *given = others
    shared = _Shared(*given)
    to_bias = logsumexp.new_empty(logsumexp.shape[1] if shared.bias is not None else 0)
    buckets = 0 if shared.relative is None else shared.relative.shape[1]
    states = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (query, key, value))
    return *states, to_bias, logsumexp.new_empty(query.shape[1], buckets)


define(
    f"ragged_attention(Tensor query, Tensor key, Tensor value, {_SHARED}) -> (Tensor, Tensor)",
    _attention,
    _fake_attention,
)
define(
    f"ragged_received(Tensor query, Tensor key, Tensor logsumexp, {_SHARED}, bool diagonal) "
    "-> Tensor",
    _received,
    _fake_received,
)
define(
    "ragged_attention_backward(Tensor gradient, Tensor query, Tensor key, Tensor value, "
    f"Tensor context, Tensor logsumexp, {_SHARED}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _attention_backward,
    _fake_backward,
)
ragged_received = torch.ops.tokendrop.ragged_received


def _products(count: int, query: Any, pairs: int) -> int:
    """FLOPs of so many products of queries and keys in every row and head."""
    _, heads, size = query
    return count * MATMUL * heads * size * pairs


@register_flop_formula(torch.ops.tokendrop.ragged_attention)
def _(query: Any, *others: Any, out_shape: Any = None, **_: Any) -> int:
    return _products(2, query, _Shared(*others[2:]).pairs)


@register_flop_formula(torch.ops.tokendrop.ragged_received)
def _(*_: Any, out_shape: Any = None, **__: Any) -> int:
    """None: elsewhere they are read from probabilities that the attention has already made, and
    what a method costs must not depend on the device.
    """
    return 0


@register_flop_formula(torch.ops.tokendrop.ragged_attention_backward)
def _(gradient: Any, query: Any, *others: Any, out_shape: Any = None, **_: Any) -> int:
    """Logits once more and four gradients, as torch counts it for its own operator."""
    return _products(5, query, _Shared(*others[4:]).pairs)


class _Attention(torch.autograd.Function):
    """The operator with its gradient."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, Tensor]:
        context, logsumexp = torch.ops.tokendrop.ragged_attention(*given)
        (query, key, value), shared = given[:3], _Shared(*given[3:])
        if len(query) > shared.tokens:
            context[shared.tokens :] = 0  # whatever stands there would reach weights' gradients
        ctx.save_for_backward(query, key, value, context, logsumexp, *shared[:6])
        ctx.numbers = shared[6:]
        ctx.mark_non_differentiable(logsumexp)
        return context, logsumexp

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        *to_states, to_bias, to_relative = torch.ops.tokendrop.ragged_attention_backward(
            gradient, *saved, *ctx.numbers
        )
        needs = ctx.needs_input_grad
        to_bias = to_bias if saved[5] is not None and needs[3] else None
        to_relative = to_relative if saved[7] is not None and needs[5] else None
        return *to_states, to_bias, None, to_relative, *(None,) * 8


def ragged_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    places: Tensor | None,
    relative: Tensor | None,
    bucket: Tensor | None,
    offsets: Tensor,
    tiles: Tensor,
    tokens: int,
    pairs: int,
    reach: int,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Softmax attention of each row over itself, scaled by 1/sqrt(head size).

    Args:
        query: (T + spare, heads, head size), in fp32, bf16 or fp16, the heads of a token side by
            side; sums are in fp32.
        key: of the same shape and type.
        value: of the same shape and type.
        bias: (T,) in fp32, added to every attention logit of a key.
        places: (T,) where each token stood in its row as it came in; None if nothing depends on
            it.
        relative: (heads, buckets) in fp32, added to the logits by distance; buckets are a power
            of 2.
        bucket: (2 * m + 1,) int32, the bucket of each distance from key to query from -m to m.
        offsets: (R + 1,) the first token of each row, and T at the end.
        tiles: (N, 2) int32: a row, and the first of the TILE tokens of it that a tile serves.
        tokens: T, all that are alive.
        pairs: of a query and a key, in all rows: the sum of squared lengths.
        reach: with ``places``, the largest distance at which a key is seen; -1 for any.
        dropout: probability of zeroing an attention probability.
        seed: of dropout, which depends on nothing else.

    Returns:
        the context (T + spare, heads, head size), whose spare rows mean nothing; and the
        log-sum-exp of each query's logits (heads, T), in fp32. ``ragged_received``, which takes
        that in the place of ``value``, and whether what a token paid to itself counts, gives the
        attention that each token received from its row, over all heads, after dropout: (T,) in
        fp32.
    """
    given = (
        query, key, value, bias, places, relative, bucket, offsets, tiles, tokens, pairs, reach,
        dropout, seed,
    )  # fmt: skip
    if torch.is_grad_enabled():
        found: tuple[Tensor, Tensor] = _Attention.apply(*given)  # type: ignore[no-untyped-call]
        return found
    return torch.ops.tokendrop.ragged_attention(*given)
