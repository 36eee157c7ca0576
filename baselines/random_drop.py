"""Random drop: each layer keeps a fixed random choice of positions. The floor of all token scores.

The comparator Rand-WS of Goyal et al., "PoWER-BERT", ICML 2020, arXiv 2001.08950. Tokens
leave where those of PoWER-BERT do, so that with its configuration only the choice of the tokens
differs. It is drawn once, so a model trains for the positions that it keeps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.schedule import ConstantShare
from tokendrop.bounds import Natural, Positive, PositiveShare
from tokendrop.reducers.base import Shape, View


class RandomDrop(ConstantShare):
    """Keep the k_l tokens that stand at the best positions of a random order, and [CLS]."""

    order: Tensor

    def __init__(
        self,
        ratio: PositiveShare = 0.8,
        configuration: list[int] | None = None,
        draw: Natural = 0,
        epochs: Natural = 3,
        learning_rate: Positive = 3e-5,
    ) -> None:
        """
        Args:
            ratio: share of a row that leaves each attention: the operating point.
            configuration: instead, the tokens that leave each layer.
            draw: which random order of the positions.
            epochs: passes of training with these tokens removed.
            learning_rate: its peak rate.
        """
        super().__init__(ratio, configuration, epochs, learning_rate)
        self.draw = draw

    def build(self, shape: Shape) -> None:
        super().build(shape)
        generator = torch.Generator().manual_seed(self.draw)
        self.order = nn.Buffer(torch.randperm(shape.max_tokens, generator=generator))

    def scores(self, view: View) -> Tensor:
        return self.order[view.batch.positions[view.layout.tokens]]
