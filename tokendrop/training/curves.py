"""Curves of a training: metrics after each epoch, and a CSV file that goes on where it was cut."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers.csv_logs import CSVLogger, ExperimentWriter

from tokendrop.errors import UserError
from tokendrop.files import whole_file
from tokendrop.training.module import TokenDropModule
from tokendrop.training.processes import is_first, total


class Curve(Callback):
    """Metrics after each epoch, and time and FLOPs spent, all kept across a resumption."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0
        self.started: float | None = None  # of an epoch that this process trained
        self.flops = 0
        self._earlier_flops = 0  # before the resumption

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, TokenDropModule)
        assert pl_module.stage is not None
        if not trainer.is_last_batch:
            raise UserError(
                f"{pl_module.stage.name} was ended within epoch {trainer.current_epoch + 1}, which "
                "is lost; those before it are kept: end it between two epochs, as EarlyStopping "
                "does, not by max_time"
            )
        assert self.started is not None
        self.seconds += time.perf_counter() - self.started
        self.flops = self._earlier_flops + total(pl_module.train_flops, pl_module.device)
        metrics = {k: round(float(v), 6) for k, v in trainer.callback_metrics.items()}
        self.epochs.append({"epoch": trainer.current_epoch + 1, **metrics})

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "seconds": self.seconds, "flops": self.flops}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = state_dict["epochs"]
        self.seconds = state_dict["seconds"]
        self.flops = self._earlier_flops = state_dict["flops"]


class Patience(Callback):
    """End a stage whose dev score has not risen for some epochs.

    It goes by what :class:`Curve` remembers, so a stage that was cut after its last epoch does not
    train another one.
    """

    def __init__(self, curve: Curve, epochs: int) -> None:
        self._curve, self._epochs = curve, epochs

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop(trainer)

    # after the curve has heard of the epoch
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        scores = [metrics["dev/score"] for metrics in self._curve.epochs]
        if scores and len(scores) - 1 - scores.index(max(scores)) >= self._epochs:
            trainer.should_stop = True


class CurveLogger(CSVLogger):
    """A CSV file of all stages of a run, each row with its stage.

    Lightning's own begins anew when a training goes on, and what was logged before is gone.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> _Writer:
        if self._experiment is None:
            self._experiment = _Writer(self.log_dir)
        assert isinstance(self._experiment, _Writer)
        return self._experiment


class _Writer(ExperimentWriter):
    stage = ""

    def _check_log_dir_exists(self) -> None:
        """Go on in the file that is there, instead of deleting it."""
        file = Path(self.metrics_file_path)
        if file.is_file():
            with file.open(newline="") as lines:
                self.metrics_keys = next(csv.reader(lines), [])

    def log_metrics(self, metrics_dict: dict[str, Any], step: int | None = None) -> None:
        super().log_metrics(metrics_dict | {"stage": self.stage}, step)

    def go_on(self, stage: str, epoch: int) -> None:
        """Begin a stage in this epoch: what was logged of later ones will be logged again."""
        self.stage = stage
        file = Path(self.metrics_file_path)
        if not file.is_file():
            return
        with file.open(newline="") as lines:
            rows = list(csv.DictReader(lines))

        def comes_again(row: dict[str, str]) -> bool:
            return row.get("stage") == stage and float(row.get("epoch") or 0) >= epoch

        kept = [row for row in rows if not comes_again(row)]
        if len(kept) < len(rows):
            with whole_file(file) as draft, draft.open("w", newline="") as lines:
                writer = csv.DictWriter(lines, self.metrics_keys, extrasaction="ignore")
                writer.writeheader()
                writer.writerows(kept)


class GoOn(Callback):
    """Tell the CSV file of a training which stage begins or goes on, and write it each epoch."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self._begin(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in _curves(trainer):
            logger.save()

    def _begin(self, trainer: Trainer) -> None:
        if not is_first():
            return
        for logger in _curves(trainer):
            logger.experiment.go_on(self._stage, trainer.current_epoch)


def _curves(trainer: Trainer) -> list[CurveLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, CurveLogger)]
