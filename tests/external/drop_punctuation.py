"""Drop punctuation by its token ids: what a token is decides, not what its state says."""

from __future__ import annotations

import torch

from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Reducer, Shape, View


class DropPunctuation(Reducer):
    """From one layer on, do without the tokens of these ids. Nothing is trained for it."""

    operating_arguments = frozenset({"layer"})

    def __init__(self, ids: list[int], layer: int = 1) -> None:
        super().__init__()
        self.ids, self.layer = ids, layer

    def build(self, shape: Shape) -> None:
        if not 0 <= self.layer < shape.layers:
            raise UserError(f"layer {self.layer} is out of range: use 0 to {shape.layers - 1}")

    def before_layer(self, view: View) -> Decision | None:
        if view.layer != self.layer:
            return None
        layout = view.layout
        ids = view.batch.input_ids[layout.tokens]
        dropped = (ids[:, None] == torch.tensor(self.ids, device=ids.device)).any(dim=1)
        return Decision(keep=~dropped | layout.is_first)
