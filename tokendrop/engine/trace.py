"""What happened in one pass: which original tokens were alive where, and how deep each row went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """The tokens that layer ``index`` worked on.

    Attributes:
        index: the layer, from 0.
        entered: tokens that reached the layer, before any decision in it.
        attention: tokens that attended to each other.
        feed_forward: tokens that went through the feed-forward part, and unless tokens were merged
            they alone through attention's output projection.
        spare: rows that the products before and after attention had beside these tokens, see
            :func:`tokendrop.engine.linear.spare_rows`.
        merged: tokens were merged behind attention, so all that attended went through its output
            projection.
    """

    index: int
    entered: Layout
    attention: Layout
    feed_forward: Layout
    spare: tuple[int, int]
    merged: bool = False


@dataclass(eq=False)
class Trace:
    """The record that FLOPs, kept-token counts and pictures are read from.

    Attributes:
        start: the layout of the batch before the first layer.
        layers: the layers that ran, in order; skipped layers and layers that no row reached are
            absent.
        head_states: states that the backbone's own head read: one of each row, or of each token
            where it reads every token; an exit answered the other rows.
    """

    start: Layout
    layers: list[LayerTrace] = field(default_factory=list)
    head_states: int = 0

    def token_depth(self) -> Tensor:
        """(T,) layers each original token went through entirely: 0 if dropped in the first.

        Read back from the device once; what is known of rows is known to the host.
        """
        depth = torch.zeros_like(self.start.tokens)
        for layer in self.layers:
            depth.index_fill_(0, layer.feed_forward.tokens, layer.index + 1)
        return depth.cpu()

    def row_depth(self) -> Tensor:
        """(B,) the layer after which each row left, or the number of the last layer."""
        depth = torch.zeros(len(self.start.lengths), dtype=torch.long)
        for layer in self.layers:
            depth[list(layer.feed_forward.origin)] = layer.index + 1
        return depth

    def processed_tokens(self) -> Tensor:
        """(B,) token-layers of each row: its feed-forward tokens summed over the layers."""
        total = torch.zeros(len(self.start.lengths), dtype=torch.long)
        for layer in self.layers:
            total[list(layer.feed_forward.origin)] += torch.tensor(layer.feed_forward.lengths)
        return total


@dataclass(frozen=True, eq=False)
class Encoded:
    """The result of a pass.

    Attributes:
        batch: what went in.
        logits: (B, classes) in fp32, in the order of the batch; (T, outputs) of a head that reads
            every token.
        trace: what was alive where.
        memory: the reducer's own record of the pass.
    """

    batch: Batch
    logits: Tensor
    trace: Trace
    memory: Any
