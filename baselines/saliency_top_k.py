"""Saliency top-k: each layer keeps a constant share of its tokens, by their predicted saliency.

Gradient x input needs the gold label and a backward pass, which inference has not. As in AdapLeR
(Modarressi et al., ACL 2022, arXiv 2203.08991), a small predictor in each layer therefore learns
the saliency that the fine-tuned model gives the tokens of a training row. Unlike there, a fixed
schedule says how many tokens stay, and they are really removed in training. So against AdapLeR this
shows what learned thresholds add, against attention top-k what another score does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.schedule import ConstantShare
from tokendrop.engine.trace import Encoded, Trace
from tokendrop.errors import UserError
from tokendrop.packed import Batch, Layout, row_softmax, row_sum
from tokendrop.reducers.base import Decision, Shape, Stage, StageContext, View

WIDTH = 32  # hidden units of a predictor, as in AdapLeR


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores (T,) that the live tokens of a layer got in training."""

    scores: Tensor
    layout: Layout


class SaliencyTopK(ConstantShare):
    """Keep the k_l tokens of largest predicted saliency, and [CLS]."""

    def __init__(
        self,
        ratio: float = 0.8,
        configuration: list[int] | None = None,
        saliency_weight: float = 1.0,
        epochs: int = 3,
        learning_rate: float = 3e-5,
    ) -> None:
        """
        Args:
            ratio: share of a row that leaves each attention: the operating point.
            configuration: instead, the tokens that leave each layer.
            saliency_weight: weight of the predictors' loss. Only they follow it: they read the
                states without a gradient into the backbone.
            epochs: passes of training with these tokens removed.
            learning_rate: its peak rate.
        """
        super().__init__(ratio, configuration, epochs, learning_rate)
        self.saliency_weight = saliency_weight
        self.token_scores = "saliency"
        self.saliency: list[Tensor] = []

    def build(self, shape: Shape) -> None:
        super().build(shape)
        self.predictors = nn.ModuleList(
            nn.Sequential(
                nn.Linear(shape.hidden, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1, bias=False)
            )
            for _ in range(shape.layers)
        )

    # -- the encoder's moments ------------------------------------------------------------------

    def start(self, batch: Batch) -> list[Scored]:
        return []

    def after_attention(self, view: View) -> Decision | None:
        decision = super().after_attention(view)
        if decision is None and self.training:
            self.scores(view)  # nobody leaves this layer, but its predictor learns
        return decision

    def scores(self, view: View) -> Tensor:
        scores: Tensor = self.predictors[view.layer](view.hidden.detach()).squeeze(-1)
        if self.training:
            view.memory.append(Scored(scores, view.layout))
        return scores.detach()

    # -- training -------------------------------------------------------------------------------

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """KL of the live tokens' saliency from the predicted one, mean over rows and layers."""
        batch = encoded.batch
        if not self.saliency or not encoded.memory:
            return {}
        saliency = torch.cat([self.saliency[i] for i in batch.numbers])
        saliency = saliency.to(batch.layout.device, non_blocking=True)
        divergences = []
        for scored in encoded.memory:
            layout = scored.layout
            target = saliency[layout.tokens].clamp_min(1e-9)
            target = target / row_sum(target, layout)[layout.row]
            found = row_softmax(scored.scores, layout).clamp_min(1e-9)
            pointwise = F.kl_div(found.log(), target, reduction="none")
            divergences.append(row_sum(pointwise, layout).mean())
        return {"saliency": self.saliency_weight * torch.stack(divergences).mean()}

    def enter(self, stage: Stage, context: StageContext) -> None:
        self.saliency = context.saliency()
        if not self.saliency:
            raise UserError("SaliencyTopK needs saliencies to learn from: train it with a recipe")

    def leave(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        self.saliency = []

    def flops(self, trace: Trace, shape: Shape) -> int:
        scored = sum(
            len(layer.attention.tokens)
            for layer in trace.layers
            if self.counts(layer.attention, layer.index)
        )
        return 2 * WIDTH * (shape.hidden + 1) * scored
