"""What a stage of training shows while it runs."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar


def progress(label: str) -> Callback:
    """A progress bar on a terminal; one line per epoch where the output is not one."""
    return StageBar(label) if sys.stderr.isatty() else EpochLines(label)


class StageBar(TQDMProgressBar):
    """A progress bar that says which stage is running."""

    def __init__(self, label: str) -> None:
        super().__init__(leave=True)
        self.label = label

    def on_train_epoch_start(self, trainer: Trainer, *arguments: Any) -> None:
        super().on_train_epoch_start(trainer, *arguments)
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        self.train_progress_bar.set_description(f"{self.label} {epoch}")


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
