"""Entropy exit: a row leaves at the first ramp that is sure of its class.

Xin et al., "DeeBERT", ACL 2020, arXiv 2004.12993. The backbone and its head are fine-tuned first,
which here is the stage that all methods share; then the ramps learn on the frozen backbone, all at
once, each by the task's loss on its own answers. A ramp is a tanh pooler, which begins as a copy of
the pretrained one where there is one, dropout, and a classifier, as in castorini/DeeBERT.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from baselines.ramps import Pooling, Ramps, in_batch_order
from tokendrop.bounds import Count, Positive, Share
from tokendrop.errors import UserError
from tokendrop.packed import Batch
from tokendrop.reducers.base import (
    Decision,
    Group,
    Reducer,
    Shape,
    Stage,
    StageContext,
    Step,
    Trace,
    View,
)


class EntropyExit(Reducer):
    """Leave where the entropy of a ramp's class distribution is below a threshold.

    In a chain it stands last: its ramps are trained in its own stage only.
    """

    recipe = 2  # ramps had no pooler
    operating_arguments = frozenset({"threshold"})

    def __init__(
        self,
        threshold: Share = 0.4,
        pooling: Pooling = "cls",
        epochs: Count = 3,
        learning_rate: Positive = 2e-5,
    ) -> None:
        """
        Args:
            threshold: S as a share of ln(classes), the largest entropy there is: the operating
                point, which costs no training. 0 lets no row leave early, 1 nearly all.
            pooling: what a ramp reads of a layer: the [CLS] state, as in the paper, or the mean
                over the row, for encoders whose lower layers put nothing into [CLS].
            epochs: passes of training the ramps.
            learning_rate: its peak rate; only the ramps follow it.
        """
        super().__init__()
        self.threshold = threshold
        self.pooling: Pooling = pooling
        self.epochs = epochs
        self.learning_rate = learning_rate

    def build(self, shape: Shape) -> None:
        if shape.classes < 2:
            raise UserError(
                "EntropyExit needs at least 2 classes, this head has 1: take PatienceExit"
            )
        self.largest_entropy = math.log(shape.classes)
        self.ramps = Ramps(shape, self.pooling)

    def start(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """What the ramps read in training, and for which rows, layer by layer."""
        return []

    def after_layer(self, view: View) -> Decision | None:
        if view.layer == view.layers - 1:
            return None
        pooled = self.ramps.read(view)
        if self.training:
            view.memory.append((pooled.detach(), view.layout.rows))
            return None
        answer = self.ramps(view.layer, pooled)
        logs = answer.log_softmax(-1)
        entropy = -(logs.exp() * logs).sum(-1)
        return Decision(leave=entropy < self.threshold * self.largest_entropy, answer=answer)

    def training_passes(self, step: Step) -> Iterator[dict[str, Tensor]]:
        # frozen: the pass through the backbone needs no gradient
        with torch.no_grad():
            encoded = step.forward()
        losses = {}
        for layer, (pooled, rows) in enumerate(encoded.memory):
            answers = in_batch_order(self.ramps(layer, pooled), rows, len(encoded.batch))
            losses[f"ramp_{layer + 1}"] = step.task_loss(replace(encoded, logits=answers))
        yield losses

    def stages(self) -> list[Stage]:
        return [Stage("ramps", self.epochs, self.learning_rate, clip=1.0, keep="last")]

    def enter(self, stage: Stage, context: StageContext) -> None:
        self.ramps.begin(context.pretrained_pooler())

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        return [Group("ramps", {f"reducer.{name}": p for name, p in self.named_parameters()})]

    def flops(self, trace: Trace, shape: Shape) -> int:
        return self.ramps.flops(trace, shape)
