"""How many tokens leave each layer, for comparators that differ only in which ones they keep."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from tokendrop.bounds import Natural, Positive, PositiveShare
from tokendrop.errors import UserError
from tokendrop.packed import Layout, top_k
from tokendrop.reducers.base import Decision, Ranking, Reducer, Shape, Stage, View
from tokendrop.reducers.configuration import check_configuration


def check_schedule(ratio: float, configuration: Sequence[int] | None, layers: int) -> None:
    """Refuse a schedule that :func:`tokens_to_keep` cannot follow.

    Raises:
        UserError: the ratio is out of range, or the configuration does not fit the backbone.
    """
    if not 0 < ratio <= 1:
        raise UserError(f"ratio {ratio} is out of range: use more than 0, at most 1")
    if configuration is not None:
        check_configuration(configuration, layers)


def tokens_to_keep(
    layout: Layout, layer: int, ratio: float, configuration: Sequence[int] | None
) -> list[int] | None:
    """(R,) tokens of each row that leave a layer, None where every row stays whole.

    Args:
        layout: where the live rows lie.
        layer: from 0.
        ratio: the share of what is left of a row, rounded up.
        configuration: instead, the tokens that leave each layer; shorter rows stay whole.
    """
    kept = [_left(n, layer, ratio, configuration) for n in layout.lengths]
    return None if kept == list(layout.lengths) else kept


def _left(tokens: int, layer: int, ratio: float, configuration: Sequence[int] | None) -> int:
    if configuration is not None:
        return min(configuration[layer], tokens)
    return math.ceil(ratio * tokens - 1e-9)  # 0.1 * 30 is a little more than 3


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
        check_schedule(self.ratio, self.configuration, shape.layers)
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
                left.append(_left(left[-1], layer, self.ratio, self.configuration))
            return left[1:]

        return Ranking(lengths, self.scores)

    def counts(self, layout: Layout, layer: int) -> list[int] | None:
        """(R,) tokens of each row that leave a layer, None where every row stays whole."""
        return tokens_to_keep(layout, layer, self.ratio, self.configuration)

    def stages(self) -> list[Stage]:
        """With tokens removed from the first step on, as when PoWER-BERT re-trains."""
        return [Stage("retrain", self.epochs, self.learning_rate, warmup=0.06, clip=1.0)]
