"""Fewer layers: the first k only. What any early exit should beat at the same mean depth."""

from __future__ import annotations

from tokendrop.bounds import Count, Natural, Positive
from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Reducer, Shape, Stage, View


class FewerLayers(Reducer):
    """Run layers 1 to k for every row and read the head there; no token is dropped."""

    def __init__(
        self, layers: Count = 3, epochs: Natural = 3, learning_rate: Positive = 5e-5
    ) -> None:
        """
        Args:
            layers: k, the operating point.
            epochs: passes of training the shallow model, after the shared fine-tuning of the
                whole one; by default as many as that had.
            learning_rate: its peak rate.
        """
        super().__init__()
        self.layers = layers
        self.epochs = epochs
        self.learning_rate = learning_rate

    def build(self, shape: Shape) -> None:
        if self.layers > shape.layers:
            raise UserError(
                f"layers {self.layers} is out of range: use 1 to the backbone's {shape.layers}"
            )

    def before_layer(self, view: View) -> Decision | None:
        return Decision(skip=True) if view.layer >= self.layers else None

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "shallow",
                self.epochs,
                self.learning_rate,
                weight_decay=0.01,
                warmup=0.06,
                clip=1.0,
            )
        ]
