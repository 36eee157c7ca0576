"""AdapLeR: adaptive length reduction by learned contribution scores.

Modarressi, Mohebbi and Pilehvar, "AdapLeR: Speeding up Inference by Adaptive Length Reduction",
ACL 2022, arXiv 2203.08991. Where paper and code (amodaresi/AdapLeR) differ, the code is followed.

Decides: at the input of every layer which tokens of each row go on: those whose predicted
contribution is at least a learned fraction of the row's uniform share, and [CLS]. Training removes
nothing: a token below the threshold gets a negative bias as a key, which saturates into removal.
Predictors learn the saliency of a fine-tuned model, thresholds learn to shorten rows.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokendrop.bounds import Bounds, Count, NonNegative, Positive
from tokendrop.engine.by_row import row_max, row_softmax, row_sum
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded, Trace
from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Group, Reducer, Shape, Stage, StageContext, View
from tokendrop.reducers.contributions import WIDTH, ContributionPredictor
from tokendrop.reducers.soft_removal.soften import soften

log = logging.getLogger(__name__)

LEAST_ETA = 0.01
PLANS = {3: (50, 50), 10: (10, 3)}  # first lambda and its factor, by the number of epochs
STRETCHES = 5  # of the plan for 5 epochs: 10, 100, ..., 1e5


@dataclass(eq=False)
class Pass:
    """What a pass worked out; where tokens are really removed, only the contributions.

    Attributes:
        contributions: s^l of the tokens entering layer l, in their order there.
        masks: m^0 to m^L (T,), how far a token survives; a row's sum is its soft length N^l.
        biases: (T,) 0, and then the key bias of each layer.
        eta: () of each layer.
        theta: () of each layer, None for the first.
    """

    contributions: list[Tensor]
    masks: list[Tensor]
    biases: list[Tensor]
    eta: Sequence[Tensor]
    theta: Sequence[Tensor | None]


class AdapLeR(Reducer):
    """Drop tokens whose predicted contribution is below eta^l / N^l."""

    attention_dropout = False
    note = "AdapLeR starts from the pretrained encoder unless init says 'finetuned'."

    def __init__(
        self,
        contribution_weight: NonNegative = 0.005,
        length_weight: NonNegative = 0.0005,
        epochs: Count = 5,
        learning_rate: Positive = 3e-5,
        threshold_learning_rate: NonNegative = 5e-4,
        init: Literal["pretrained", "finetuned"] = "pretrained",
        lambda_update: Literal["after_step", "epoch_start"] = "after_step",
        reshuffle: bool = False,
        target: Literal["saliency", "attention"] = "saliency",
        share_predictor: bool = False,
        first_threshold: Annotated[float, Bounds(LEAST_ETA, 1)] = 0.25,
    ) -> None:
        """
        Args:
            contribution_weight: gamma, weight of the predictors' loss; like length_weight an
                operating point: one model is trained per value.
            length_weight: phi, weight of the soft row lengths: larger is faster, less accurate.
            epochs: passes of the training, over which the soft removal gets sharper.
            learning_rate: peak rate of all weights, the predictors' included.
            threshold_learning_rate: peak rate of eta and theta; 0 leaves them as they begin.
            init: weights to begin with: "pretrained" as in the code, or "finetuned".
            lambda_update: begin a stretch's sharpness after its first step, as the code does with
                an epoch's, or with it.
            reshuffle: a new order of the batches each epoch; the code has one for all.
            target: what predictors learn, of the fine-tuned model: "saliency" as in the paper, or
                the "attention" that tokens receive, mean over layers.
            share_predictor: one predictor for all layers instead of one each.
            first_threshold: eta of every layer at the start.
        """
        super().__init__()
        self.contribution_weight, self.length_weight = contribution_weight, length_weight
        self.epochs, self.learning_rate = epochs, learning_rate
        self.threshold_learning_rate = threshold_learning_rate
        self.init, self.lambda_update, self.reshuffle = init, lambda_update, reshuffle
        self.target, self.share_predictor = target, share_predictor
        self.token_scores = target
        self.first_threshold = first_threshold
        self.steps_per_epoch = 1
        self._step = (0, 0)  # the epoch, and the steps begun in it
        self._trained = False
        self.dense_score: float | None = None
        self.saliency: list[Tensor] = []

    def build(self, shape: Shape) -> None:
        count = 1 if self.share_predictor else shape.layers
        predictors = [ContributionPredictor(shape.hidden) for _ in range(count)]
        self.contribution_predictors = nn.ModuleList(predictors)
        self.eta = nn.Parameter(torch.full((shape.layers,), self.first_threshold))
        self.theta = nn.Parameter(torch.ones(shape.layers - 1))
        self.sharpness = nn.Buffer(torch.tensor(1000.0))  # lambda; a resumed stage goes on with it
        self.within_one_point = nn.Buffer(torch.tensor(-1))  # until an epoch is chosen

    # -- the encoder's moments ------------------------------------------------------------------

    def start(self, batch: Batch) -> Pass:
        device = batch.layout.device
        mask = torch.ones(len(batch.layout.tokens), device=device, dtype=torch.float32)
        # taken apart once, whose gradients then come back together
        eta, theta = self.eta.unbind(), self.theta.unbind()
        return Pass([], [mask], [torch.zeros_like(mask)], eta, (None, *theta))

    def before_layer(self, view: View) -> Decision | None:
        layout = view.layout
        predictor = 0 if self.share_predictor else view.layer
        logits = self.contribution_predictors[predictor](view.hidden)
        if self.training:
            return Decision(key_bias=self._soften(view, logits))
        contributions = row_softmax(logits, layout)
        view.memory.contributions.append(contributions)
        threshold = self.eta[view.layer] / layout.sizes
        keep = (contributions >= threshold[layout.row]) | layout.is_first
        return Decision(keep=keep)

    def _soften(self, view: View, logits: Tensor) -> Tensor:
        """(T,) the key bias of this layer, which stands for removal in training. Section 3."""
        memory, mask = view.memory, view.memory.masks[-1]
        if len(mask) != len(logits):
            raise UserError("AdapLeR trains on whole rows: no other part may drop tokens")
        contributions, mask, bias = soften(
            logits, mask, memory.biases[-1], memory.eta[view.layer], memory.theta[view.layer],
            self.sharpness, view.layout,
        )  # fmt: skip
        memory.contributions.append(contributions)
        memory.masks.append(mask)
        memory.biases.append(bias)
        return bias

    # -- training -------------------------------------------------------------------------------

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """gamma * sum_l (L - l) KL_l, and phi * sum_l N^l of the tokens that layers process."""
        memory: Pass = encoded.memory
        length = torch.stack(memory.masks[1:]).sum() / len(encoded.batch)
        losses = {"length": self.length_weight * length}
        if self.saliency:
            kl = self.divergences(memory, encoded.batch)
            weights = torch.arange(len(kl), 0, -1, device=kl.device)
            losses["kl"] = self.contribution_weight * (weights * kl).sum()
        return losses

    def divergences(self, memory: Pass, batch: Batch) -> Tensor:
        """(L,) KL of the survivors' saliency from their contributions, mean over rows."""
        layout = batch.layout
        saliency = batch.told(self.saliency)
        found = torch.stack(memory.contributions, 1)  # (T, L), as all that follows
        masks = torch.stack(memory.masks[:-1], 1)  # the code works them out again, equally
        is_first = layout.is_first[:, None]
        target = saliency[:, None] * masks
        # the first layer has none, and a part of a chain may skip the last ones
        theta = F.pad(self.theta, (1, 0), value=1.0)[: found.shape[1]]
        target = torch.where(is_first, target * theta, target)
        target = target / (row_sum(target, layout)[layout.row] + 1e-15)
        target, found = target.clamp(1e-7, 1), found.clamp(1e-7, 1)
        # a row with nothing left to drop has nothing to learn
        droppable = row_max(masks.detach().masked_fill(is_first, 0), layout)
        return (droppable * row_sum(target * (target / found).log(), layout)).mean(0)

    def stages(self) -> list[Stage]:
        stage = Stage("adaptive", self.epochs, self.learning_rate, weight_decay=0.01, eps=1e-12)
        stage = replace(stage, warmup=0.06, clip=1.0, reshuffle=self.reshuffle)
        return [replace(stage, start="pretrained" if self.init == "pretrained" else "previous")]

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        """Weights never see the length, thresholds never the contributions. Section 3."""
        weights = dict(backbone.named_parameters())
        own = {f"reducer.{name}": parameter for name, parameter in self.named_parameters()}
        thresholds = {name: own.pop(name) for name in ("reducer.eta", "reducer.theta")}
        rate = self.threshold_learning_rate
        return [
            Group("weights", weights | own, ignores=frozenset({"length"})),
            Group("thresholds", thresholds, rate, ignores=frozenset({"kl"})),
        ]

    def enter(self, stage: Stage, context: StageContext) -> None:
        self.steps_per_epoch = max(1, context.steps // stage.epochs)
        # in a chain, a part that is trained goes on as it ended
        self._trained = bool(self.within_one_point >= 0)
        self.dense_score = context.fine_tuned_score
        self.saliency = (context.saliency if self.target == "saliency" else context.attention)()
        if not self.saliency:
            log.warning(
                "AdapLeR: no %s is given, so predictors learn from the task only", self.target
            )

        summed = 0.5 * context.steps * self.threshold_learning_rate
        highest = float(self.eta.detach().max()) + summed
        if summed > 0 and highest < 1:
            log.warning(
                "AdapLeR: the learning rates of the thresholds sum to %.2f, so only tokens below "
                "%.2f of their row's mean contribution can be dropped, maybe none: raise "
                "first_threshold, threshold_learning_rate or epochs",
                summed,
                highest,
            )

    def leave(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        self.saliency = []
        self.within_one_point.fill_(metrics.get("score", 0.0) > 1)
        self._trained = True
        if caveat := self.caveat():
            log.warning(caveat)

    @property
    def recipe(self) -> int:  # type: ignore[override]
        """2 where the sharpness follows the share of the training instead of the epoch."""
        return 1 if self.epochs in (*PLANS, STRETCHES) else 2

    def before_step(self, epoch: int) -> None:
        # counted anew in each epoch: a resumed stage begins with a whole one
        begun = self._step[1] + 1 if self._step[0] == epoch else 1
        self._step = (epoch, begun)
        if self.lambda_update == "epoch_start":
            self._sharpen(epoch)

    def after_step(self, epoch: int) -> None:
        self.eta.data.clamp_(LEAST_ETA, 1)
        if self.lambda_update == "after_step":
            self._sharpen(epoch)

    def _sharpen(self, epoch: int) -> None:
        share = 1.0 if self._trained else max(0, self._step[1] - 1) / self.steps_per_epoch
        self.sharpness.fill_(sharpness(epoch + min(share, 0.999_999), self.epochs))

    def score(self, metric: float, metrics: Mapping[str, float]) -> float:
        """The fastest epoch within one point of the fine-tuned model, else the most accurate."""
        if self.dense_score is None or metric <= self.dense_score - 0.01:
            return metric
        return 1 + metrics["flops_speedup"]  # above every metric, which is at most 1

    def flops(self, trace: Trace, shape: Shape) -> int:
        return 2 * WIDTH * (shape.hidden + 1) * sum(len(x.entered.tokens) for x in trace.layers)

    def caveat(self) -> str:
        if self.within_one_point != 0:
            return ""
        return (
            "AdapLeR: no epoch came within a point of the fine-tuned model on the dev split, so "
            "the most accurate one was kept instead of the fastest."
        )

    def describe(self) -> dict[str, Any]:
        eta, within = self.eta.tolist(), bool(self.within_one_point)
        described = {"init": self.init, "eta": eta, "eta_mean": sum(eta) / len(eta)}
        return described | ({"within_one_point": within} if self.within_one_point >= 0 else {})


def sharpness(done: float, epochs: int) -> float:
    """Lambda after so many epochs, whole and part, of so many.

    The code has plans by the epoch for 3, 5 and 10. For any other number the plan for 5 is spread
    over the whole training: with fewer epochs it would stop before soft removal is hard, and with
    more go on for long after.
    """
    if epochs in PLANS:
        first, factor = PLANS[epochs]
        return float(first * factor ** int(done))
    # a little more than the share: 0.2 * 5 may be a little less than 1
    stretch = min(STRETCHES - 1, int(done / epochs * STRETCHES + 1e-9))
    return float(10 ** (1 + stretch))
