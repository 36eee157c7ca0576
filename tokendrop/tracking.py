"""Loggers by configuration: CSV files, and Weights & Biases without needing an account."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import wandb
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from tokendrop.prediction import Prediction

LoggerName = Literal["csv", "wandb"]


@dataclass(frozen=True)
class Run:
    """What a run is called where it is tracked: group = task, job type = method."""

    task: str
    method: str
    operating_point: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.method}-{self.operating_point}-{self.task}-seed{self.seed}"


class Tracker:
    """The loggers of one run, over all stages of its recipe."""

    def __init__(self, kinds: Sequence[LoggerName], folder: Path, run: Run) -> None:
        """
        Args:
            kinds: which loggers to use.
            folder: output folder of the comparison or of the training.
            run: what is tracked.
        """
        self.loggers: list[Logger] = []
        if "csv" in kinds:
            self.loggers.append(CSVLogger(folder / "logs", name=run.name, version=""))
        if "wandb" in kinds:
            self.loggers.append(
                WandbLogger(
                    name=run.name,
                    save_dir=folder,
                    project="tokendrop",
                    group=run.task,
                    job_type=run.method,
                    offline=not logged_in(),
                    reinit="finish_previous",
                    settings=wandb.Settings(silent=True),
                )
            )

    def finish(
        self, results: Mapping[str, Any], config: Mapping[str, Any], shown: Sequence[Prediction]
    ) -> None:
        """Log the final numbers and how deep the tokens of some examples went, and close."""
        for logger in self.loggers:
            if isinstance(logger, WandbLogger):
                experiment = logger.experiment
                experiment.config.update(dict(config), allow_val_change=True)
                numbers = {k: v for k, v in results.items() if isinstance(v, (int, float))}
                experiment.summary.update(numbers)
                experiment.log({"tokens": _token_table(shown)})
                experiment.finish()


def logged_in() -> bool:
    """Whether W&B has a key on this machine, so that runs may be sent at once."""
    if os.environ.get("WANDB_MODE"):
        return os.environ["WANDB_MODE"] == "online"
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def log_comparison(folder: Path, figures: Mapping[str, Path], table: Any) -> None:
    """Log the trade-off figures and the results table of a comparison as a run of its own."""
    with wandb.init(
        project="tokendrop",
        job_type="comparison",
        name=f"comparison-{folder.name}",
        dir=folder,
        mode="online" if logged_in() else "offline",
        reinit="finish_previous",
        settings=wandb.Settings(silent=True),
    ) as run:
        images = {name: wandb.Image(str(path)) for name, path in figures.items()}
        run.log({**images, "results": wandb.Table(dataframe=table)})


def _token_table(shown: Sequence[Prediction]) -> wandb.Table:
    table = wandb.Table(columns=["example", "token", "layers", "row_layers", "label"])
    for number, prediction in enumerate(shown):
        for token, depth in zip(prediction.tokens, prediction.token_depth, strict=True):
            table.add_data(number, token, depth, prediction.row_depth, prediction.label)
    return table
