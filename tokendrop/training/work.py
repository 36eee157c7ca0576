"""How much work a recipe is, and telling how much of it has been done.

A unit is one token that goes forward through the whole encoder, dropped by nothing. It is a rough
measure, made to say what is left; what training cost is counted in FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule, Trainer

from tokendrop.engine.packed import Batch
from tokendrop.training.module import TokenDropModule

Done = Callable[[float], None]
"""Is told how many units have been done since it was told before."""

STEP = 4  # forward passes that a training step takes the time of, the optimiser included


def unheard(units: float) -> None:
    """Where nobody asks what is left."""


class Steps(Callback):
    """Tells the units of each batch that a stage is trained on or chosen by."""

    def __init__(self, done: Done) -> None:
        self.done = done

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, TokenDropModule)
        self.done(STEP * pl_module.model.reducer.passes * _tokens(batch))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self.done(_tokens(batch))


def _tokens(batch: Batch) -> int:
    return len(batch.input_ids)
