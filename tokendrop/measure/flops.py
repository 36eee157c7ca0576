"""Floating-point operations of a pass: from the trace by formula, and counted as they run.

A multiply-add is two operations. Counted are the matrix products of the linear layers and of
attention, as every paper compared here does; softmax, GELU, LayerNorm, biases and look-ups are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count
from transformers import PreTrainedModel

from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.ragged import kernels_on
from tokendrop.engine.trace import Trace
from tokendrop.families import family_of
from tokendrop.heads import reads_tokens
from tokendrop.reducers.base import Reducer, Shape
from tokendrop.reducers.given import flops_of


def layer_flops(
    attended: Sequence[int], fed: int, shape: Shape, projected: int | None = None
) -> int:
    """FLOPs of one layer.

    Args:
        attended: tokens of each row that attend to each other.
        fed: tokens, over all rows, that go through the feed-forward part.
        shape: sizes of the backbone.
        projected: tokens that go through attention's output projection; all that attend by
            default, which is the common formula of the papers. This encoder projects only the
            tokens that stay.
    """
    tokens, width = sum(attended), shape.hidden
    projected = tokens if projected is None else projected
    linear = 6 * tokens * width**2 + 2 * projected * width**2
    attention = 4 * width * sum(n * n for n in attended)
    return linear + attention + fed * _feed_forward(shape)


def _feed_forward(shape: Shape) -> int:
    """FLOPs of the feed-forward part for one token."""
    return 2 * shape.hidden * shape.intermediate * (3 if shape.gated else 2)


def embedding_flops(tokens: int, shape: Shape) -> int:
    """FLOPs of widening narrow embeddings to the hidden size."""
    return 2 * tokens * shape.projected_embedding * shape.hidden


def pass_flops(trace: Trace, reducer: Reducer, model: PreTrainedModel, shape: Shape) -> int:
    """FLOPs of a pass that left this trace, the method's own operators and heads included.

    Raises:
        UserError: the method counts its own in something else than whole numbers.
    """
    layers = sum(
        layer_flops(layer.attention.lengths, fed, shape, projected=None if layer.merged else fed)
        for layer in trace.layers
        for fed in [sum(layer.feed_forward.lengths)]
    )
    head = head_flops(model) * trace.head_states
    embedding = embedding_flops(sum(trace.start.lengths), shape)
    return embedding + layers + head + flops_of(reducer, trace, shape)


def dense_flops(lengths: Iterable[int], model: PreTrainedModel, shape: Shape) -> int:
    """FLOPs of the plain model on rows of these lengths; give the padded ones to count padding."""
    lengths = list(lengths)
    layers = shape.layers * layer_flops(lengths, sum(lengths), shape)
    embedding, reads = embedding_flops(sum(lengths), shape), reads_tokens(model)
    return embedding + layers + head_flops(model) * (sum(lengths) if reads else len(lengths))


def head_flops(model: PreTrainedModel) -> int:
    """FLOPs of the backbone's own head for one state that it reads."""
    if reads_tokens(model):
        return family_of(model).token_head_flops(model.config)
    return family_of(model).head_flops(model.config)


def padding_flops(trace: Trace, shape: Shape) -> int:
    """FLOPs spent on the padding of attention's blocks and on spare rows: they save more time.

    No part of a method's or the dense model's FLOPs; only what is counted as it runs has them.
    """
    total = 0
    for layer in trace.layers:
        if not kernels_on(layer.attention.device):
            blocks = sum(rows * width**2 for rows, width in layer.attention.blocks.shapes)
            total += 4 * shape.hidden * (blocks - layer.attention.pairs)
        before, after = layer.spare
        projected = before if layer.merged else after
        total += (6 * before + 2 * projected) * shape.hidden**2
        total += after * _feed_forward(shape)
    return total


def counted_flops(model: PreTrainedModel, batch: Batch, reducer: Reducer) -> tuple[int, Trace]:
    """FLOPs of a pass as counted from the operators that really ran, and what was alive where."""
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    def linear(states: Any, weight: Any, *_: Any, **__: Any) -> int:
        return 2 * states[0] * states[1] * weight[0]

    # the counter does not know these (CPU attention before torch 2.15) and would silently count 0
    known = {fused: attention, torch.ops.mkldnn._linear_pointwise: linear}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=known) as mode:
        trace = encode(model, batch, reducer).trace
    return mode.get_total_flops(), trace
