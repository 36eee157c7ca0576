"""Patience exit: a row leaves when several layers in succession have answered it alike.

Zhou et al., "BERT Loses Patience" (PABEE), NeurIPS 2020, arXiv 2006.04152. The backbone and the
ramps of all layers are trained together on sum_l l L_l / sum_l l, so that later layers weigh more.
The last layer's answer is that of the backbone's own head. The ramps share one tanh pooler, which
begins as a copy of the pretrained one where there is one, as in JetRunner/PABEE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from baselines.ramps import Pooling, Ramps, in_batch_order
from tokendrop.bounds import Count, Positive
from tokendrop.packed import Batch
from tokendrop.reducers.base import Decision, Reducer, Shape, Stage, StageContext, Step, Trace, View


@dataclass(eq=False)
class Running:
    """What the layers have answered so far.

    Attributes:
        previous: (B, classes) answers of the last layer with a ramp.
        streak: (B,) how many layers in succession have agreed with the one before them.
        answers: in training, the answers in the order of the batch, layer by layer.
    """

    previous: Tensor
    streak: Tensor
    answers: list[Tensor] = field(default_factory=list)


class PatienceExit(Reducer):
    """Leave when a layer is the t-th in succession to agree with the one before it.

    In a chain it stands last: its ramps are trained in its own stage only.
    """

    recipe = 2  # ramps had no pooler
    operating_arguments = frozenset({"patience", "tolerance"})
    carried = ("previous", "streak")
    evaluated_apart = True  # by the last layer

    def __init__(
        self,
        patience: Count = 2,
        tolerance: Positive = 0.1,
        pooling: Pooling = "cls",
        epochs: Count = 3,
        learning_rate: Positive = 3e-5,
    ) -> None:
        """
        Args:
            patience: t, the operating point: 1 lets a row leave after layer 2 at the earliest.
            tolerance: tau of the regression variant, in units of the target: answers that differ
                by less agree.
            pooling: what a ramp reads of a layer: the [CLS] state, as in the paper, or the mean
                over the row, for encoders whose lower layers put nothing into [CLS].
            epochs: passes of the joint training.
            learning_rate: its peak rate.
        """
        super().__init__()
        self.patience = patience
        self.tolerance = tolerance
        self.pooling: Pooling = pooling
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.whole = False

    def build(self, shape: Shape) -> None:
        self.classes = shape.classes
        self.ramps = Ramps(shape, self.pooling, shared_pooler=True)

    # -- the encoder's moments ------------------------------------------------------------------

    def start(self, batch: Batch) -> Running:
        device = batch.input_ids.device
        # the first layer agrees with nobody
        return Running(
            torch.full((len(batch), self.classes), torch.nan, device=device, dtype=torch.float32),
            torch.zeros(len(batch), dtype=torch.long, device=device),
        )

    def after_layer(self, view: View) -> Decision | None:
        if view.layer == view.layers - 1:
            return None
        running: Running = view.memory
        rows = view.layout.rows
        answer = self.ramps(view.layer, self.ramps.read(view))
        if self.training:
            running.answers.append(in_batch_order(answer, rows, len(view.batch)))
            return None
        alike = self._agree(running.previous[rows], answer)
        streak = torch.where(alike, running.streak[rows] + 1, 0)
        running.previous = running.previous.index_copy(0, rows, answer)
        running.streak = running.streak.index_copy(0, rows, streak)
        if self.whole:
            return None
        return Decision(leave=streak >= self.patience, answer=answer)

    def _agree(self, before: Tensor, now: Tensor) -> Tensor:
        """(R,) whether two layers' answers are the same class, or for one output nearly equal."""
        if self.classes == 1:
            return (before - now).abs().squeeze(-1) < self.tolerance
        return (before.argmax(-1) == now.argmax(-1)) & before.isfinite().all(-1)

    # -- training -------------------------------------------------------------------------------

    def training_passes(self, step: Step) -> Iterator[dict[str, Tensor]]:
        encoded = step.forward()
        answers = [*encoded.memory.answers, encoded.logits]
        total = sum(range(1, len(answers) + 1))
        yield {
            f"layer_{number}": number / total * step.task_loss(replace(encoded, logits=answer))
            for number, answer in enumerate(answers, start=1)
        }

    def stages(self) -> list[Stage]:
        return [Stage("joint", self.epochs, self.learning_rate, warmup=0.06, clip=1.0)]

    def enter(self, stage: Stage, context: StageContext) -> None:
        self.ramps.begin(context.pretrained_pooler())
        # one model for every patience: the best epoch is that of all layers
        self.whole = True

    def leave(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        self.whole = False

    def flops(self, trace: Trace, shape: Shape) -> int:
        return self.ramps.flops(trace, shape)
