"""Triton kernels of softmax attention inside the rows of a packed tensor.

A program serves one tile of one row and one head: ``BLOCK`` queries that go over all keys of their
row, ``STEP`` at a time, or with ``KEYS`` a tile of keys that goes over all queries. The tile comes
first in what it makes of both, so that no product needs that turned around: in fp32, whose products
are made in registers, it would not fit there. The tiles of a row depend on its length alone, and
every sum runs in the order of the row, so a row gives the same bits alone and in any batch.

Probabilities are never written out. The way forward leaves each query's log-sum-exp, from which
the other kernels make them anew (Dao, FlashAttention-2, ICLR 2024, section 3). Dropout is drawn
from a counter made of query, key and head, so that each kernel draws the same.
"""

from __future__ import annotations

import triton
import triton.language as tl

# whole numbers that differ from call to call: they must not make a new kernel
CHANGING = ["tokens", "reach", "middle", "seed"]
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
def _dot(one, other):
    """The product of two tiles, summed in fp32."""
    if INTERPRETED:  # it would multiply the bits of bf16; the products are exact in fp32
        one, other = one.to(tl.float32), other.to(tl.float32)
    return tl.dot(one, other, input_precision="ieee")


@triton.jit
def _tile(tiles, offsets, BLOCK: tl.constexpr):
    """First token and length of the tile's row, and the places in the row that it serves."""
    tile = tl.program_id(0)
    row = tl.load(tiles + 2 * tile)
    first = tl.load(offsets + row)
    length = tl.load(offsets + row + 1) - first
    return first, length, tl.load(tiles + 2 * tile + 1) + tl.arange(0, BLOCK)


@triton.jit
def _states(base, first, at, length, head, stride, SIZE: tl.constexpr, COLUMNS: tl.constexpr):
    """(BLOCK, COLUMNS) states of some places of a row, 0 beyond its end and the head's size.

    ``stride`` leads from a token to the next; the heads of a token lie side by side.
    """
    column = tl.arange(0, COLUMNS)
    place = base + (first + at)[:, None].to(tl.int64) * stride + head * SIZE
    return tl.load(
        place + column[None, :],
        mask=(at < length)[:, None] & (column < SIZE)[None, :],
        other=0.0,
    )


@triton.jit
def _across(of_q, of_k, KEYS: tl.constexpr):
    """What is known of queries and of keys, so that both can be combined to what a tile makes."""
    if KEYS:
        of_q, of_k = of_q[None, :], of_k[:, None]
    else:
        of_q, of_k = of_q[:, None], of_k[None, :]
    return of_q, of_k


@triton.jit
def _buckets(at_q, at_k, first, length, places, bucket, middle, KEYS: tl.constexpr):
    """The bucket of each distance; any beyond the row."""
    of_q = tl.load(places + first + at_q, mask=at_q < length, other=0)
    of_k = tl.load(places + first + at_k, mask=at_k < length, other=0)
    of_q, of_k = _across(of_q, of_k, KEYS)
    q_inside, k_inside = _across(at_q < length, at_k < length, KEYS)
    return tl.load(bucket + middle + of_k - of_q, mask=q_inside & k_inside, other=0)


@triton.jit
def _logits(
    tile, others, at_q, at_k, first, length, head, scale, bias, places, reach, relative, bucket,
    middle,
    BIAS: tl.constexpr, WINDOW: tl.constexpr, BUCKETS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """(BLOCK, STEP) what the softmax is taken of: -inf where a key is not seen."""
    logits = _dot(tile, tl.trans(others)) * scale
    _, seen = _across(at_q < length, at_k < length, KEYS)
    if BIAS:
        of_k = tl.load(bias + first + at_k, mask=at_k < length, other=0.0)
        _, of_k = _across(at_q, of_k, KEYS)
        logits += of_k
    if WINDOW:
        of_q = tl.load(places + first + at_q, mask=at_q < length, other=0)
        of_k = tl.load(places + first + at_k, mask=at_k < length, other=0)
        of_q, of_k = _across(of_q, of_k, KEYS)
        seen = seen & (tl.abs(of_q - of_k) <= reach)
    if BUCKETS:
        which = _buckets(at_q, at_k, first, length, places, bucket, middle, KEYS)
        logits += tl.load(relative + head * BUCKETS + which)
    return tl.where(seen, logits, float("-inf"))


@triton.jit
def _weights(
    tile, others, at_q, at_k, first, length, head, scale, bias, places, reach, relative, bucket,
    middle, level,
    BIAS: tl.constexpr, WINDOW: tl.constexpr, BUCKETS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """(BLOCK, STEP) probabilities, by the log-sum-exp of each query; 0 beyond the row."""
    logits = _logits(
        tile, others, at_q, at_k, first, length, head, scale, bias, places, reach, relative, bucket,
        middle, BIAS, WINDOW, BUCKETS, KEYS,
    )  # fmt: skip
    level, _ = _across(level, at_k, KEYS)
    inside, _ = _across(at_q < length, at_k, KEYS)
    return tl.where(inside, tl.exp(logits - level), 0.0)


@triton.jit
def _put(found, base, first, at, length, head, SIZE: tl.constexpr, COLUMNS: tl.constexpr):
    """Store the (BLOCK, COLUMNS) states of some places of a row, where tokens lie side by side."""
    column = tl.arange(0, COLUMNS)
    stride = tl.num_programs(1) * SIZE
    place = base + (first + at)[:, None].to(tl.int64) * stride + head * SIZE
    tl.store(
        place + column[None, :],
        found.to(base.dtype.element_ty),
        mask=(at < length)[:, None] & (column < SIZE)[None, :],
    )


@triton.jit
def _kept(seed, first, at_q, at_k, head, dropout, KEYS: tl.constexpr):
    """(BLOCK, STEP) which probabilities dropout keeps."""
    of_q, of_k = _across((first + at_q).to(tl.int32), at_k.to(tl.int32), KEYS)
    zero = tl.zeros_like(of_q + of_k)
    drawn, _, _, _ = tl.philox(seed, zero + of_q, zero + of_k, zero + head, zero)
    return tl.uint_to_uniform_float(drawn) >= dropout


@triton.jit(do_not_specialize=CHANGING)
def forward(
    query, key, value, bias, places, relative, bucket, offsets, tiles, context, logsumexp,
    query_stride, key_stride, value_stride, tokens, scale, reach, middle, dropout, seed,
    BIAS: tl.constexpr, WINDOW: tl.constexpr, BUCKETS: tl.constexpr, DROPOUT: tl.constexpr,
    BLOCK: tl.constexpr, STEP: tl.constexpr, SIZE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Context and log-sum-exp of a tile of queries."""
    first, length, at_q = _tile(tiles, offsets, BLOCK)
    head = tl.program_id(1)
    q = _states(query, first, at_q, length, head, query_stride, SIZE, COLUMNS)
    highest = tl.full([BLOCK], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    found = tl.zeros([BLOCK, COLUMNS], tl.float32)
    for start in range(0, length, STEP):
        at_k = start + tl.arange(0, STEP)
        k = _states(key, first, at_k, length, head, key_stride, SIZE, COLUMNS)
        v = _states(value, first, at_k, length, head, value_stride, SIZE, COLUMNS)
        logits = _logits(
            q, k, at_q, at_k, first, length, head, scale, bias, places, reach, relative, bucket,
            middle, BIAS, WINDOW, BUCKETS, KEYS=False,
        )  # fmt: skip
        higher = tl.maximum(highest, tl.max(logits, 1))
        # none of these keys may be seen, nor any before them
        level = tl.where(higher == float("-inf"), 0.0, higher)
        weights = tl.exp(logits - level[:, None])
        shrink = tl.exp(highest - level)
        total = total * shrink + tl.sum(weights, 1)
        if DROPOUT:
            weights = tl.where(
                _kept(seed, first, at_q, at_k, head, dropout, KEYS=False), weights, 0.0
            )
        found = found * shrink[:, None]
        found += _dot(weights.to(v.dtype), v)
        highest = higher
    found = found / (total * (1 - dropout))[:, None]
    _put(found, context, first, at_q, length, head, SIZE, COLUMNS)
    # dropout may take all that the scale divides by; the log-sum-exp is of what was before
    tl.store(logsumexp + head * tokens + first + at_q, highest + tl.log(total), mask=at_q < length)


@triton.jit(do_not_specialize=CHANGING)
def received(
    query, key, bias, places, relative, bucket, offsets, tiles, logsumexp, sums,
    query_stride, key_stride, tokens, scale, reach, middle, dropout, seed,
    BIAS: tl.constexpr, WINDOW: tl.constexpr, BUCKETS: tl.constexpr, DROPOUT: tl.constexpr,
    DIAGONAL: tl.constexpr,
    BLOCK: tl.constexpr, STEP: tl.constexpr, SIZE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """What a tile of keys received from all queries of their row, in one head."""
    first, length, at_k = _tile(tiles, offsets, BLOCK)
    head = tl.program_id(1)
    k = _states(key, first, at_k, length, head, key_stride, SIZE, COLUMNS)
    found = tl.zeros([BLOCK], tl.float32)
    for start in range(0, length, STEP):
        at_q = start + tl.arange(0, STEP)
        q = _states(query, first, at_q, length, head, query_stride, SIZE, COLUMNS)
        level = tl.load(logsumexp + head * tokens + first + at_q, mask=at_q < length, other=0.0)
        votes = _weights(
            k, q, at_q, at_k, first, length, head, scale, bias, places, reach, relative, bucket,
            middle, level, BIAS, WINDOW, BUCKETS, KEYS=True,
        )  # fmt: skip
        if DROPOUT:
            kept = _kept(seed, first, at_q, at_k, head, dropout, KEYS=True)
            votes = tl.where(kept, votes / (1 - dropout), 0.0)
        if not DIAGONAL:
            votes = tl.where(at_k[:, None] == at_q[None, :], 0.0, votes)
        found += tl.sum(votes, 1)
    tl.store(sums + head * tokens + first + at_k, found, mask=at_k < length)


@triton.jit(do_not_specialize=CHANGING)
def backward_queries(
    query, key, value, bias, places, relative, bucket, offsets, tiles, context, logsumexp,
    gradient, delta, to_query, to_relative,
    query_stride, key_stride, value_stride, tokens, scale, reach, middle, dropout, seed,
    BIAS: tl.constexpr, WINDOW: tl.constexpr, BUCKETS: tl.constexpr, DROPOUT: tl.constexpr,
    BLOCK: tl.constexpr, STEP: tl.constexpr, SIZE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Gradient of a tile of queries, its part of the relative positions' gradient, and for the
    keys' gradient the means of what their weights got.
    """
    first, length, at_q = _tile(tiles, offsets, BLOCK)
    head = tl.program_id(1)
    q = _states(query, first, at_q, length, head, query_stride, SIZE, COLUMNS)
    stride = tl.num_programs(1) * SIZE
    g = _states(gradient, first, at_q, length, head, stride, SIZE, COLUMNS)
    level = tl.load(logsumexp + head * tokens + first + at_q, mask=at_q < length, other=0.0)
    made = _states(context, first, at_q, length, head, stride, SIZE, COLUMNS)
    mean = tl.sum(g.to(tl.float32) * made.to(tl.float32), 1)
    tl.store(delta + head * tokens + first + at_q, mean, mask=at_q < length)
    found = tl.zeros([BLOCK, COLUMNS], tl.float32)
    if BUCKETS:
        of_bucket = tl.zeros([BUCKETS], tl.float32)
    for start in range(0, length, STEP):
        at_k = start + tl.arange(0, STEP)
        k = _states(key, first, at_k, length, head, key_stride, SIZE, COLUMNS)
        v = _states(value, first, at_k, length, head, value_stride, SIZE, COLUMNS)
        weights = _weights(
            q, k, at_q, at_k, first, length, head, scale, bias, places, reach, relative, bucket,
            middle, level, BIAS, WINDOW, BUCKETS, KEYS=False,
        )  # fmt: skip
        to_weights = _dot(g, tl.trans(v))
        if DROPOUT:
            kept = _kept(seed, first, at_q, at_k, head, dropout, KEYS=False)
            to_weights = tl.where(kept, to_weights / (1 - dropout), 0.0)
        to_logits = weights * (to_weights - mean[:, None])
        found += _dot(to_logits.to(k.dtype), k)
        if BUCKETS:
            which = _buckets(at_q, at_k, first, length, places, bucket, middle, KEYS=False)
            # tiles far from each other have but few
            for each in range(tl.min(which), tl.max(which) + 1):
                share = tl.sum(tl.where(which == each, to_logits, 0.0))
                of_bucket += tl.where(tl.arange(0, BUCKETS) == each, share, 0.0)
    _put(found * scale, to_query, first, at_q, length, head, SIZE, COLUMNS)
    if BUCKETS:
        place = (head * tl.num_programs(0) + tl.program_id(0)) * BUCKETS
        tl.store(to_relative + place + tl.arange(0, BUCKETS), of_bucket)


@triton.jit(do_not_specialize=CHANGING)
def backward_keys(
    query, key, value, bias, places, relative, bucket, offsets, tiles, logsumexp, gradient, delta,
    to_key, to_value, to_bias,
    query_stride, key_stride, value_stride, tokens, scale, reach, middle, dropout, seed,
    BIAS: tl.constexpr, WINDOW: tl.constexpr, BUCKETS: tl.constexpr, DROPOUT: tl.constexpr,
    BLOCK: tl.constexpr, STEP: tl.constexpr, SIZE: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Gradients of a tile of keys, its values and its bias in one head."""
    first, length, at_k = _tile(tiles, offsets, BLOCK)
    head = tl.program_id(1)
    k = _states(key, first, at_k, length, head, key_stride, SIZE, COLUMNS)
    v = _states(value, first, at_k, length, head, value_stride, SIZE, COLUMNS)
    of_key = tl.zeros([BLOCK, COLUMNS], tl.float32)
    of_value = tl.zeros([BLOCK, COLUMNS], tl.float32)
    of_bias = tl.zeros([BLOCK], tl.float32)
    stride = tl.num_programs(1) * SIZE
    for start in range(0, length, STEP):
        at_q = start + tl.arange(0, STEP)
        q = _states(query, first, at_q, length, head, query_stride, SIZE, COLUMNS)
        g = _states(gradient, first, at_q, length, head, stride, SIZE, COLUMNS)
        level = tl.load(logsumexp + head * tokens + first + at_q, mask=at_q < length, other=0.0)
        weights = _weights(
            k, q, at_q, at_k, first, length, head, scale, bias, places, reach, relative, bucket,
            middle, level, BIAS, WINDOW, BUCKETS, KEYS=True,
        )  # fmt: skip
        mean = tl.load(delta + head * tokens + first + at_q, mask=at_q < length, other=0.0)
        to_weights = _dot(v, tl.trans(g))
        used = weights
        if DROPOUT:
            kept = _kept(seed, first, at_q, at_k, head, dropout, KEYS=True)
            used = tl.where(kept, weights / (1 - dropout), 0.0)
            to_weights = tl.where(kept, to_weights / (1 - dropout), 0.0)
        of_value += _dot(used.to(g.dtype), g)
        to_logits = weights * (to_weights - mean[None, :])
        of_key += _dot(to_logits.to(q.dtype), q)
        of_bias += tl.sum(to_logits, 1)
    _put(of_key * scale, to_key, first, at_k, length, head, SIZE, COLUMNS)
    _put(of_value, to_value, first, at_k, length, head, SIZE, COLUMNS)
    if BIAS:
        tl.store(to_bias + head * tokens + first + at_k, of_bias, mask=at_k < length)
