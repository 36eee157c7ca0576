"""Answers from the lower layers: one linear map after each layer but the last."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from tokendrop.engine.trace import Trace
from tokendrop.packed import row_sum
from tokendrop.reducers.base import Shape, View

Pooling = Literal["cls", "mean"]


class Ramps(nn.Module):
    """The exits of a backbone. The last layer has none: there the backbone's own head answers."""

    def __init__(self, shape: Shape, pooling: Pooling) -> None:
        """
        Args:
            shape: of the backbone.
            pooling: what a ramp reads: the [CLS] state, or the mean over the row.
        """
        super().__init__()
        self.pooling = pooling
        self.heads = nn.ModuleList(
            nn.Linear(shape.hidden, shape.classes) for _ in range(shape.layers - 1)
        )

    def read(self, view: View) -> Tensor:
        """(R, hidden) what the ramp of this layer reads."""
        if self.pooling == "cls":
            return view.cls
        return row_sum(view.hidden, view.layout) / view.layout.sizes[:, None]

    def forward(self, layer: int, pooled: Tensor) -> Tensor:
        """(R, classes) the answers after a layer, from what :meth:`read` gave there."""
        answer: Tensor = self.heads[layer](pooled)
        return answer

    def flops(self, trace: Trace, shape: Shape) -> int:
        """FLOPs of the ramps of all layers that ran, for the rows that reached them."""
        rows = sum(
            len(layer.feed_forward.lengths)
            for layer in trace.layers
            if layer.index < len(self.heads)
        )
        return 2 * shape.hidden * shape.classes * rows


def in_batch_order(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """(R, ...) values of these rows at their places among ``count``; zeros elsewhere."""
    return values.new_zeros(count, *values.shape[1:]).index_copy(0, rows, values)
