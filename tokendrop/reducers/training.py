"""What a method says about its training, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from tokendrop.engine.trace import Encoded
from tokendrop.heads import mean_divergence


@dataclass(frozen=True)
class Stage:
    """One stage of a method's training recipe: a start, an optimiser, a length, a choice.

    Attributes:
        name: what the stage is called in logs and folders.
        epochs: passes over the training split.
        learning_rate: peak rate of the backbone; a :class:`Group` may name another.
        optimizer: "adam" or "adamw".
        weight_decay: not applied to biases and LayerNorm.
        warmup: share of the steps over which the rate rises linearly from 0.
        schedule: how it falls after that. "linear": to 0 from the peak; "keras": as
            1 - step / steps, so it jumps down at the end of the warm-up (PoWER-BERT's code).
        clip: largest gradient norm of a group, None for no clipping.
        keep: which weights go on to the next stage: those of the epoch with the best dev metric,
            or the last.
        start: weights to begin with: the previous stage's, or the pretrained ones.
        reshuffle: a new order of the batches each epoch, or the first one for all.
    """

    name: str
    epochs: int
    learning_rate: float
    optimizer: Literal["adam", "adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: float = 0.0
    schedule: Literal["linear", "keras"] = "linear"
    clip: float | None = None
    keep: Literal["best", "last"] = "best"
    start: Literal["previous", "pretrained"] = "previous"
    reshuffle: bool = True


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters that share a rate, a clip and an objective.

    Attributes:
        parameters: by name.
        learning_rate: peak rate, None for the stage's.
        ignores: names of the loss terms that these parameters do not follow.
    """

    name: str
    parameters: Mapping[str, nn.Parameter]
    learning_rate: float | None = None
    ignores: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class StageContext:
    """What a stage begins with.

    Attributes:
        lengths: (examples,) tokens of each training row.
        steps: optimiser steps of the stage.
        fine_tuned_score: best dev metric of the shared fine-tuning, from 0 to 1.
        saliency: gradient x input of the fine-tuned model at the embeddings, one (tokens,)
            tensor per training row, in the order of the split; worked out when first called and
            remembered beside the fine-tuned model.
        attention: the same of the attention that each token receives there, mean over layers.
        answer_range: smallest and largest label of the training rows, in regression.
    """

    lengths: Tensor
    steps: int
    fine_tuned_score: float = 0.0
    saliency: Callable[[], list[Tensor]] = list
    answer_range: tuple[float, float] = (0.0, 1.0)
    attention: Callable[[], list[Tensor]] = list


@dataclass(frozen=True)
class Step:
    """What a training step offers to a reducer.

    Attributes:
        forward: one pass over the batch, in training mode.
        task_loss: the task's loss of a pass.
        divergence: mean KL(one || other) of two passes' logits.
    """

    forward: Callable[[], Encoded]
    task_loss: Callable[[Encoded], Tensor]
    divergence: Callable[[Tensor, Tensor], Tensor] = mean_divergence
