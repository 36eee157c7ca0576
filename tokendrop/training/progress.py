"""What a stage of training shows while it runs."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar

REDRAWN = 0.2  # seconds between two looks of a progress bar at the loss


def progress(label: str) -> Callback:
    """A progress bar on a terminal; one line per epoch where the output is not one."""
    return StageBar(label) if sys.stderr.isatty() else EpochLines(label)


class StageBar(TQDMProgressBar):
    """A progress bar that says which stage is running, and the loss.

    The loss that it shows is read back from the device, so it is not drawn for every quick step.
    """

    def __init__(self, label: str) -> None:
        super().__init__(leave=True)
        self.label = label
        self._drawn = 0.0

    def on_train_epoch_start(self, trainer: Trainer, *arguments: Any) -> None:
        super().on_train_epoch_start(trainer, *arguments)
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.train_progress_bar.set_description(f"{self.label} {epoch}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        if now - self._drawn >= REDRAWN or batch_idx + 1 == self.total_train_batches:
            self._drawn = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        shown = super().get_metrics(trainer, pl_module)
        if (loss := trainer.callback_metrics.get("loss")) is not None:
            shown["loss"] = float(loss)
        return shown


class EpochLines(ProgressBar):
    """One line for each finished epoch."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit":
            return
        # the score is what a method chooses its epoch by, in units of its own
        shown = {
            name: value
            for name, value in trainer.callback_metrics.items()
            if name.startswith("dev/") and name != "dev/score"
        }
        scores = ", ".join(f"{name} {float(value):.4f}" for name, value in shown.items())
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        seconds = time.perf_counter() - self.started
        print(f"{self.label} {epoch}: {scores} ({seconds:.0f} s)", file=sys.stderr, flush=True)

    def disable(self) -> None:
        """Lightning asks for this on all but the first of several processes."""
        self.on_validation_end = lambda *_: None  # type: ignore[method-assign]
