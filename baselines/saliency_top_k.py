"""Saliency top-k: each layer keeps a constant share of its tokens, by their predicted saliency.

Gradient x input needs the gold label and a backward pass, which inference has not. As in AdapLeR
(Modarressi et al., ACL 2022, arXiv 2203.08991), a small predictor in each layer therefore learns
the saliency that the fine-tuned model gives the tokens of a training row. Unlike there, a fixed
schedule says how many tokens stay, and they are really removed in training. So against AdapLeR this
shows what learned thresholds add, against attention top-k what another score does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.schedule import ConstantShare
from tokendrop.bounds import Natural, NonNegative, Positive, PositiveShare
from tokendrop.errors import UserError
from tokendrop.packed import Batch, Layout, row_softmax, row_sum
from tokendrop.reducers.base import (
    Decision,
    Encoded,
    Group,
    Shape,
    Stage,
    StageContext,
    Step,
    Trace,
    View,
)

WIDTH = 32  # hidden units of a predictor, as in AdapLeR
ALONE = Stage("predictors", 1, 1e-3, clip=1.0, keep="last")


@dataclass(frozen=True, eq=False)
class Scored:
    """The states (T, hidden) that a layer's predictor read in training."""

    layer: int
    hidden: Tensor
    layout: Layout


class SaliencyTopK(ConstantShare):
    """Keep the k_l tokens of largest predicted saliency, and [CLS]."""

    def __init__(
        self,
        ratio: PositiveShare = 0.8,
        configuration: list[int] | None = None,
        saliency_weight: NonNegative = 1.0,
        epochs: Natural = 3,
        learning_rate: Positive = 3e-5,
    ) -> None:
        """
        Args:
            ratio: share of a row that leaves each attention: the operating point.
            configuration: instead, the tokens that leave each layer.
            saliency_weight: weight of the predictors' loss. Only they follow it: they read the
                states without a gradient into the backbone.
            epochs: passes of training with these tokens removed. With 0 the backbone stays as it
                is, and the predictors alone learn, in one pass.
            learning_rate: its peak rate; the predictors alone have one of their own.
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
        hidden = view.hidden.detach()
        if self.training:
            view.memory.append(Scored(view.layer, hidden, view.layout))
        return self._predicted(view.layer, hidden).detach()

    def _predicted(self, layer: int, hidden: Tensor) -> Tensor:
        scores: Tensor = self.predictors[layer](hidden).squeeze(-1)
        return scores

    # -- training -------------------------------------------------------------------------------

    def stages(self) -> list[Stage]:
        return super().stages() if self.epochs else [ALONE]

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        if stage != ALONE:
            return super().groups(stage, backbone)
        return [Group("predictors", {f"reducer.{name}": p for name, p in self.named_parameters()})]

    def training_passes(self, step: Step) -> Iterator[dict[str, Tensor]]:
        if self.epochs:
            yield from super().training_passes(step)
            return
        # frozen: the pass through the backbone needs no gradient
        with torch.no_grad():
            encoded = step.forward()
        yield self.losses(encoded)

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """KL of the live tokens' saliency from the predicted one, mean over rows and layers."""
        batch = encoded.batch
        if not self.saliency or not encoded.memory:
            return {}
        saliency = batch.told(self.saliency)
        divergences = []
        for scored in encoded.memory:
            layout = scored.layout
            target = saliency[layout.tokens].clamp_min(1e-9)
            target = target / row_sum(target, layout)[layout.row]
            scores = self._predicted(scored.layer, scored.hidden)
            found = row_softmax(scores, layout).clamp_min(1e-9)
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
