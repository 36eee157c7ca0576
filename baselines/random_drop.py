"""Random drop: each layer keeps a fixed random choice of positions. The floor of all token scores.

The comparator Rand-WS of Goyal et al., "PoWER-BERT", ICML 2020, arXiv 2001.08950. Tokens
leave where those of PoWER-BERT do, so that with its configuration only the choice of the tokens
differs. It is drawn once, so a model trains for the positions that it keeps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.schedule import check_schedule, retraining, tokens_to_keep
from tokendrop.packed import top_k
from tokendrop.reducers.base import Decision, Reducer, Shape, Stage, View


class RandomDrop(Reducer):
    """Keep the k_l tokens that stand at the best positions of a random order, and [CLS]."""

    order: Tensor

    def __init__(
        self,
        ratio: float = 0.8,
        configuration: list[int] | None = None,
        draw: int = 0,
        epochs: int = 3,
        learning_rate: float = 3e-5,
    ) -> None:
        """
        Args:
            ratio: share of a row that leaves each attention, of what reached it, rounded up:
                the operating point.
            configuration: instead, the tokens that leave each layer, for instance those that
                another method found; never growing.
            draw: which random order of the positions.
            epochs: passes of training with these tokens removed, after the shared fine-tuning.
            learning_rate: its peak rate.
        """
        super().__init__()
        self.ratio = ratio
        self.configuration = configuration
        self.draw = draw
        self.epochs = epochs
        self.learning_rate = learning_rate

    def build(self, shape: Shape) -> None:
        check_schedule(self.ratio, self.configuration, shape.layers)
        generator = torch.Generator().manual_seed(self.draw)
        self.order = nn.Buffer(torch.randperm(shape.max_tokens, generator=generator))

    def after_attention(self, view: View) -> Decision | None:
        counts = tokens_to_keep(view.layout, view.layer, self.ratio, self.configuration)
        if counts is None:
            return None
        places = self.order[view.batch.positions[view.layout.tokens]]
        return Decision(keep=top_k(places, counts, view.layout), counts=counts)

    def stages(self) -> list[Stage]:
        return retraining(self.epochs, self.learning_rate)
