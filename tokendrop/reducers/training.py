"""What a method says about its training, and what it learns about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from tokendrop.bounds import Natural, NonNegative, Positive, Share, ShareBelow1, check_fields
from tokendrop.engine.trace import Encoded
from tokendrop.errors import UserError
from tokendrop.heads import mean_divergence


@dataclass(frozen=True)
class Stage:
    """One stage of a method's training recipe.

    Attributes:
        name: in logs and folders.
        epochs: passes over the training split.
        learning_rate: of the backbone, at its peak; a :class:`Group` may have another.
        optimizer: "adam" or "adamw".
        betas, eps: the optimiser's.
        weight_decay: not applied to biases and LayerNorm.
        warmup: share of the steps in which the learning rate rises linearly from 0 to its peak.
        schedule: the learning rate after the warm-up. "linear" falls from the peak to 0. "keras" is
            the peak times 1 - step / steps, as in PoWER-BERT's code, so that the rate jumps down
            where the warm-up ends.
        clip: largest gradient norm of a group, None for no clipping.
        keep: the weights that the stage ends with: those of its "best" epoch, the one with the best
            dev score, or of its "last".
        start: the weights that it begins with: those of the "previous" stage, or the "pretrained"
            ones.
        reshuffle: whether each epoch has its own order of the batches; else all have the first's.
    """

    name: str
    epochs: Natural
    learning_rate: NonNegative
    optimizer: Literal["adam", "adamw"] = "adamw"
    betas: tuple[ShareBelow1, ShareBelow1] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.0
    warmup: Share = 0.0
    schedule: Literal["linear", "keras"] = "linear"
    clip: Positive | None = None
    keep: Literal["best", "last"] = "best"
    start: Literal["previous", "pretrained"] = "previous"
    reshuffle: bool = True

    def __post_init__(self) -> None:
        check_fields(self, f"{self.name}.")


@dataclass(frozen=True, eq=False)
class Group:
    """Parameters with the same learning rate and the same loss, clipped together.

    Attributes:
        name: of the group.
        parameters: by name.
        learning_rate: at its peak, None for the stage's.
        ignores: names of the loss terms whose gradient these parameters do not get.
    """

    name: str
    parameters: Mapping[str, nn.Parameter]
    learning_rate: float | None = None
    ignores: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class StageContext:
    """What a method may ask before a stage, about the data and about the shared fine-tuning.

    Attributes:
        lengths: (examples,) tokens of each training row.
        steps: optimiser steps of the stage.
        fine_tuned_score: best dev metric of the fine-tuning, from 0 to 1.
        saliency: a function that gives one (tokens,) tensor for each training row, in the order of
            the split: gradient x input of the fine-tuned model at the embeddings. It is computed at
            the first call, and stored beside the fine-tuned model.
        pretrained_pooler: a function that gives weight (hidden, hidden) and bias (hidden,) of the
            tanh pooler on [CLS] that the pretrained encoder came with, None where it has none.
        answer_range: smallest and largest label of the training rows, in regression.
        attention: a function like ``saliency``, for the attention that each token receives in the
            fine-tuned model, mean over the layers.
    """

    lengths: Tensor
    steps: int
    fine_tuned_score: float = 0.0
    saliency: Callable[[], list[Tensor]] = list
    answer_range: tuple[float, float] = (0.0, 1.0)
    attention: Callable[[], list[Tensor]] = list
    pretrained_pooler: Callable[[], tuple[Tensor, Tensor] | None] = lambda: None


@dataclass(frozen=True)
class Step:
    """What a reducer builds its passes of a training step from.

    Attributes:
        forward: runs one pass over the step's batch, in training mode.
        task_loss: gives the task's loss of a pass.
        divergence: gives the mean KL(one || other) of the logits of two passes.
    """

    forward: Callable[[], Encoded]
    task_loss: Callable[[Encoded], Tensor]
    divergence: Callable[[Tensor, Tensor], Tensor] = mean_divergence


def checked_terms(terms: object, source: str) -> dict[str, Tensor]:
    """The loss terms that a reducer gave, if they can be added up.

    Args:
        terms: what it gave.
        source: the method that gave it, for messages.

    Raises:
        UserError: they are no dictionary of scalar tensors.
    """
    if not isinstance(terms, Mapping):
        raise UserError(f"{source} gave a {type(terms).__name__}: give loss terms by their names")
    for name, term in terms.items():
        if not isinstance(term, Tensor) or term.ndim or not term.is_floating_point():
            is_tensor = isinstance(term, Tensor)
            kind = f"{term.dtype} of shape {list(term.shape)}" if is_tensor else type(term).__name__
            raise UserError(f"{source} gave the term {name!r}, a {kind}: give a scalar tensor")
    return dict(terms)
