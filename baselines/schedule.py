"""How many tokens leave each layer, for comparators that differ only in which ones they keep."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor

from tokendrop.bounds import Natural, Positive, PositiveShare
from tokendrop.errors import UserError
from tokendrop.packed import Layout, top_k
from tokendrop.reducers.base import Decision, Ranking, Reducer, Shape, Stage, View
from tokendrop.reducers.configuration import check_configuration


class ConstantShare(Reducer, ABC):
    """Base of comparators that keep as many tokens as each other and differ in which ones."""

    def __init__(
        self,
        ratio: PositiveShare = 0.8,
        configuration: list[int] | None = None,
        epochs: Natural = 3,
        learning_rate: Positive = 3e-5,
    ) -> None:
        """
        Args:
            ratio: share of a row that leaves each attention, of what reached it, rounded up:
                the operating point.
            configuration: instead, the tokens that leave each layer, for instance those that
                another method found; never growing.
            epochs: passes of training with these tokens removed, after the shared fine-tuning.
            learning_rate: its peak rate.
        """
        super().__init__()
        self.ratio = ratio
        self.configuration = configuration
        self.epochs = epochs
        self.learning_rate = learning_rate

    def build(self, shape: Shape) -> None:
        if self.configuration is not None:
            check_configuration(self.configuration, shape.layers)
            if self.ratio != self.argument_defaults()["ratio"]:
                raise UserError(
                    f"ratio {self.ratio:g} says another number of tokens than configuration "
                    f"{self.configuration}: give one of them"
                )
        self.layers = shape.layers

    @abstractmethod
    def scores(self, view: View) -> Tensor:
        """(T,) by which tokens stay, the larger ones first; asked where some of them leave."""

    def after_attention(self, view: View) -> Decision | None:
        counts = self.counts(view.layout, view.layer)
        if counts is None:
            return None
        return Decision(keep=top_k(self.scores(view), counts, view.layout), counts=counts)

    def ranking(self) -> Ranking:
        def lengths(tokens: int) -> list[int]:
            left = [tokens]
            for layer in range(self.layers):
                left.append(self._left(left[-1], layer))
            return left[1:]

        return Ranking(lengths, self.scores)

    def counts(self, layout: Layout, layer: int) -> list[int] | None:
        """(R,) tokens of each row that leave a layer, None where every row stays whole."""
        kept = [self._left(tokens, layer) for tokens in layout.lengths]
        return None if kept == list(layout.lengths) else kept

    def _left(self, tokens: int, layer: int) -> int:
        """Tokens of a row that leave a layer; one shorter than the configuration stays whole."""
        if self.configuration is not None:
            return min(self.configuration[layer], tokens)
        return math.ceil(self.ratio * tokens - 1e-9)  # 0.1 * 30 is a little more than 3

    def stages(self) -> list[Stage]:
        """With tokens removed from the first step on, as when PoWER-BERT re-trains."""
        return [Stage("retrain", self.epochs, self.learning_rate, warmup=0.06, clip=1.0)]
