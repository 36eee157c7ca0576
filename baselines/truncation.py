"""Truncation: read only the first k tokens. What any learned method should beat on long texts."""

from __future__ import annotations

from torch import Tensor

from tokendrop.bounds import Count, Natural, Positive
from tokendrop.reducers.base import Decision, Ranking, Reducer, Shape, Stage, View


class Truncation(Reducer):
    """Keep positions 0 to k - 1 of each row and drop the rest before the first layer."""

    def __init__(
        self, tokens: Count = 16, epochs: Natural = 1, learning_rate: Positive = 3e-5
    ) -> None:
        """
        Args:
            tokens: k, the operating point; [CLS] counts.
            epochs: passes of training on the cut texts, after the shared fine-tuning.
            learning_rate: its peak rate.
        """
        super().__init__()
        self.tokens = tokens
        self.epochs = epochs
        self.learning_rate = learning_rate

    def build(self, shape: Shape) -> None:
        self.layers = shape.layers

    def before_layer(self, view: View) -> Decision | None:
        # in a chain another part may have skipped the first layer, and the cut with it
        if max(view.layout.lengths) <= self.tokens:
            return None
        whole = view.layout is view.batch.layout
        return Decision(
            keep=view.batch.positions[view.layout.tokens] < self.tokens,
            counts=[min(n, self.tokens) for n in view.layout.lengths] if whole else None,
        )

    def ranking(self) -> Ranking:
        def earlier(view: View) -> Tensor:
            return -view.batch.positions[view.layout.tokens]

        return Ranking(lambda tokens: [self.tokens] * self.layers, earlier, before=True)

    def stages(self) -> list[Stage]:
        return [Stage("truncated", self.epochs, self.learning_rate, warmup=0.06, clip=1.0)]
