"""Answers from the lower layers: a tanh pooler and a classifier after each layer but the last."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from tokendrop.errors import UserError
from tokendrop.packed import row_sum
from tokendrop.reducers.base import Shape, Trace, View

Pooling = Literal["cls", "mean"]


class Ramps(nn.Module):
    """The exits of a backbone. The last layer has none: there the backbone's own head answers."""

    def __init__(self, shape: Shape, pooling: Pooling, shared_pooler: bool = False) -> None:
        """
        Args:
            shape: of the backbone.
            pooling: what a ramp reads: the [CLS] state, or the mean over the row.
            shared_pooler: one pooler for all ramps instead of one each.

        Raises:
            UserError: the backbone's own head answers for tokens, not for a text, or it has one
                layer.
        """
        super().__init__()
        if shape.layers < 2:
            raise UserError(
                "an exit lies behind every layer but the last, and this backbone has 1 layer: take "
                "one with 2 or more"
            )
        if shape.head.reads_tokens:
            raise UserError(
                f"the exits of this method answer once for a text, and a {shape.head.title} does "
                "not: take DactBert"
            )
        self.pooling = pooling
        count = shape.layers - 1
        self.heads = nn.ModuleList(nn.Linear(shape.hidden, shape.classes) for _ in range(count))
        self.dropout = nn.Dropout(shape.dropout)
        self.poolers = nn.ModuleList(
            nn.Linear(shape.hidden, shape.hidden) for _ in range(1 if shared_pooler else count)
        )

    def begin(self, pooler: tuple[Tensor, Tensor] | None) -> None:
        """Let every pooler be a copy of the pretrained one.

        Args:
            pooler: its weight (hidden, hidden) and bias (hidden,); None leaves what was drawn.
        """
        if pooler is None:
            return
        weight, bias = pooler
        for own in self.poolers:
            own.load_state_dict({"weight": weight, "bias": bias})

    def read(self, view: View) -> Tensor:
        """(R, hidden) what the ramp of this layer reads."""
        if self.pooling == "cls":
            return view.cls
        return row_sum(view.hidden, view.layout) / view.layout.sizes[:, None]

    def forward(self, layer: int, read: Tensor) -> Tensor:
        """(R, classes) the answers after a layer, from what :meth:`read` gave there."""
        pooled = self.poolers[layer % len(self.poolers)](read).tanh()
        answer: Tensor = self.heads[layer](self.dropout(pooled))
        return answer

    def flops(self, trace: Trace, shape: Shape) -> int:
        """FLOPs of the ramps of all layers that ran, for the rows that reached them."""
        rows = sum(
            len(layer.feed_forward.lengths)
            for layer in trace.layers
            if layer.index < len(self.heads)
        )
        return 2 * shape.hidden * (shape.hidden + shape.classes) * rows


def in_batch_order(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """(R, ...) values of these rows at their places among ``count``; zeros elsewhere."""
    return values.new_zeros(count, *values.shape[1:]).index_copy(0, rows, values)
