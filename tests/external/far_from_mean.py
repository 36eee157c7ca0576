"""Drop the tokens that say least on their own: those nearest to the mean of their row."""

from __future__ import annotations

import math

from tokendrop.errors import UserError
from tokendrop.packed import row_sum, top_k
from tokendrop.reducers.base import Decision, Reducer, Shape, Stage, View


class FarFromMean(Reducer):
    """At one layer, keep the share of each row that lies farthest from the row's mean."""

    operating_arguments = frozenset({"share"})

    def __init__(self, layer: int = 1, share: float = 0.5, epochs: int = 1) -> None:
        super().__init__()
        self.layer, self.share, self.epochs = layer, share, epochs

    def build(self, shape: Shape) -> None:
        if not 0 <= self.layer < shape.layers:
            raise UserError(f"layer {self.layer} is out of range: use 0 to {shape.layers - 1}")
        if not 0 < self.share <= 1:
            raise UserError(f"share {self.share} is out of range: use more than 0, at most 1")

    def before_layer(self, view: View) -> Decision | None:
        if view.layer != self.layer:
            return None
        layout = view.layout
        counts = [math.ceil(self.share * tokens) for tokens in layout.lengths]
        mean = row_sum(view.hidden, layout) / layout.sizes[:, None]
        distance = (view.hidden - mean[layout.row]).norm(dim=-1)
        return Decision(keep=top_k(distance, counts, layout), counts=counts)

    def stages(self) -> list[Stage]:
        return [Stage("adapt", self.epochs, 3e-5, warmup=0.06, clip=1.0)]
