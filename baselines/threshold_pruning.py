"""Learned threshold pruning: a token goes where it receives less attention than its layer asks.

Kim et al., "Learned Token Pruning for Transformers" (LTP), KDD 2022, arXiv 2107.00910, and the code
kssteven418/LTP where the paper leaves a choice.

Decides: which tokens leave layer l, by a threshold on the mean attention that a token received, so
that longer and emptier rows lose more. The mean is over heads and over the row's own queries, so
that a row of n tokens has a mean of 1 / n; the code divides by the padded width, 128 in its runs on
GLUE, whatever n is. So thresholds are not comparable with published ones, nor is where they start:
the last layer's 0.01 is 1.28 times the mean there, and a quarter of it in a row of 25 tokens here,
where it prunes next to nothing. [CLS] is never pruned; the code has no such protection. The first
layer prunes nothing and has no part in what is learned, as in the code, where its threshold is 0.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tokendrop.bounds import Finite, Natural, NonNegative, Positive
from tokendrop.errors import UserError
from tokendrop.packed import Batch, Layout, row_sum
from tokendrop.reducers.base import (
    Decision,
    Encoded,
    Group,
    Received,
    Reducer,
    Shape,
    Stage,
    StageContext,
    View,
)

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Softened:
    """The soft masks of a pass.

    Attributes:
        factors: (T,) of each original token in a layer.
        layer: which one.
        kept: for each layer but the first the share of a row that is left, mean over rows.
    """

    factors: Tensor
    layer: int = -1
    kept: list[Tensor] = field(default_factory=list)


class ThresholdPruning(Reducer):
    """Prune a token where the mean attention it received is below theta_l."""

    received: Received = "with_diagonal"
    recipe = 2  # the first layer pruned

    def __init__(
        self,
        length_weight: NonNegative = 0.05,
        temperature: Positive = 1e-3,
        soft_epochs: Natural = 1,
        hard_epochs: Natural = 5,
        learning_rate: Positive = 2e-5,
        threshold_learning_rate: NonNegative | None = None,
        final_threshold: Positive = 0.01,
        thresholds: list[Finite] | None = None,
    ) -> None:
        """
        Args:
            length_weight: lambda, the weight of the share of tokens that the soft stage keeps: the
                operating point, larger is faster and less accurate.
            temperature: T, the width of the soft step at a threshold, in units of attention.
            soft_epochs: length of the stage that learns the thresholds.
            hard_epochs: length of the stage that trains the weights with tokens really removed.
            learning_rate: peak rate of both.
            threshold_learning_rate: peak rate of the thresholds, by default the same; they must
                travel about 1 / tokens of a row, which a short training cannot at that rate.
            final_threshold: where theta of the last layer starts, those before it in proportion, in
                units of attention; about 1 / tokens of a row to prune from the beginning on.
            thresholds: skip the soft stage and use these, one per layer.
        """
        super().__init__()
        self.length_weight = length_weight
        self.temperature = temperature
        self.soft_epochs = soft_epochs
        self.hard_epochs = hard_epochs
        self.learning_rate = learning_rate
        self.threshold_learning_rate = threshold_learning_rate
        self.final_threshold = final_threshold
        self.given = thresholds
        self.soft = False

    def build(self, shape: Shape) -> None:
        layers = torch.arange(shape.layers)  # from 0, as in the code
        first = layers * self.final_threshold / shape.layers
        if self.given is not None:
            if len(self.given) != shape.layers:
                raise UserError(
                    f"thresholds {self.given} are {len(self.given)} but the backbone has "
                    f"{shape.layers} layers: give one per layer"
                )
            first = torch.tensor(self.given, dtype=torch.float32)
        elif shape.layers < 2:
            raise UserError(
                "the first layer prunes nothing, and this backbone has 1 layer: give thresholds, "
                "or take a backbone with 2 or more"
            )
        self.heads = shape.heads
        self.thresholds = nn.Parameter(first)

    # -- the encoder's moments ------------------------------------------------------------------

    def start(self, batch: Batch) -> Softened | None:
        device = batch.layout.device
        ones = torch.ones(len(batch.layout.tokens), device=device, dtype=torch.float32)
        return Softened(ones) if self._softens else None

    @property
    def _softens(self) -> bool:
        """In training only: the soft stage too is evaluated with tokens really removed."""
        return self.soft and self.training

    def wants_received(self, view: View) -> Received | None:
        return None if view.layer == 0 and self.given is None else self.received

    def after_attention(self, view: View) -> Decision | None:
        if view.received is None:
            return None
        layout, threshold = view.layout, self.thresholds[view.layer]
        scores = view.received / (self.heads * layout.sizes)[layout.row]
        if self._softens:
            view.memory.layer = view.layer
            self._soften(view.memory, layout, (scores - threshold) / self.temperature)
            return None
        keep = (scores >= threshold) | layout.is_first
        return Decision(keep=keep)

    def _soften(self, memory: Softened, layout: Layout, margin: Tensor) -> None:
        factors = torch.where(layout.is_first, 1.0, margin.sigmoid())
        memory.factors = torch.ones_like(memory.factors).index_copy(0, layout.tokens, factors)
        memory.kept.append((row_sum(factors, layout) / layout.sizes).mean())

    def after_layer(self, view: View) -> Decision | None:
        """The soft mask weakens what leaves the layer; keys are as they were."""
        # a layer that another part of a chain skips has no mask of its own
        if not self._softens or view.memory.layer != view.layer:
            return None
        return Decision(scale=view.memory.factors[view.layout.tokens])

    # -- training -------------------------------------------------------------------------------

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """lambda * sum_l of the mean soft mask, from the second layer on."""
        if not self._softens or not encoded.memory.kept:
            return {}
        return {"length": self.length_weight * torch.stack(encoded.memory.kept).sum()}

    def stages(self) -> list[Stage]:
        soft = Stage("soft", self.soft_epochs, self.learning_rate, clip=1.0, keep="last")
        hard = Stage("hard", self.hard_epochs, self.learning_rate, clip=1.0)
        return [hard] if self.given is not None else [soft, hard]

    def enter(self, stage: Stage, context: StageContext) -> None:
        self.soft = stage.name == "soft"

    def leave(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        self.soft = False
        if "kept_tokens" in metrics:
            kept = f"{metrics['kept_tokens']:.1%}"
            log.info("LTP: after the %s stage %s of the token-layers are kept", stage.name, kept)

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        """Thresholds are fixed in the hard stage."""
        groups = [Group("backbone", dict(backbone.named_parameters()))]
        if stage.name == "soft":
            own = {"reducer.thresholds": self.thresholds}
            groups.append(Group("thresholds", own, self.threshold_learning_rate))
        return groups

    def describe(self) -> dict[str, Any]:
        thresholds = self.thresholds.tolist()
        return {"thresholds": thresholds, "threshold_mean": sum(thresholds) / len(thresholds)}
