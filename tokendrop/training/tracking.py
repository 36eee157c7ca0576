"""Loggers by configuration: CSV files, and Weights & Biases without needing an account."""

from __future__ import annotations

import netrc
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger, WandbLogger

from tokendrop.errors import UserError, one_line
from tokendrop.files import file_name, write_text
from tokendrop.measure.measures import MEASURES, VALUE
from tokendrop.models.prediction import Prediction
from tokendrop.training.curves import CurveLogger
from tokendrop.training.loggers import LoggerKind, made

if TYPE_CHECKING:  # imported where it is used: runs that log to files do without it
    import wandb

TAG_LENGTH = 64  # W&B refuses longer ones
CHOSEN = "chosen/"
"""Before what the chosen epoch of a training reached on the dev split."""

DIRECTIONS = (
    {measure.name: measure.better for measure in MEASURES}
    | {CHOSEN + measure.logged: measure.better for measure in MEASURES if measure.logged}
    | {CHOSEN + "loss": "less"}
)


@dataclass(frozen=True)
class Run:
    """What a run is called where it is tracked: group = task, job type = method.

    Both, the operating point and the seed are its tags.
    """

    task: str
    method: str
    operating_point: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.method}-{self.operating_point}-{self.task}-seed{self.seed}"

    @property
    def file_name(self) -> str:
        """The name as that of a file."""
        return file_name(self.name)

    @property
    def tags(self) -> list[str]:
        tags = (self.task, self.method, self.operating_point, f"seed{self.seed}")
        return list(dict.fromkeys(tag[:TAG_LENGTH] for tag in tags))


class Tracker:
    """The loggers of one run, over all stages of its recipe."""

    def __init__(self, kinds: Sequence[LoggerKind], folder: Path, run: Run) -> None:
        """
        Args:
            kinds: which loggers to use.
            folder: output folder of the comparison or of the training.
            run: what is tracked.
        """
        self.run, self.with_models = run, "wandb_models" in kinds
        self.loggers: list[Logger] = []
        if "csv" in kinds:
            self.loggers.append(CurveLogger(folder / "logs", name=run.file_name, version=""))
        if wants_wandb(kinds):
            import wandb

            logger = _Begun(
                name=run.name,
                id=_wandb_id(folder, run.file_name),
                resume="allow",
                save_dir=folder,
                project="tokendrop",
                group=run.task,
                job_type=run.method,
                tags=run.tags,
                offline=not logged_in(),
                reinit="finish_previous",
                settings=wandb.Settings(silent=True),
            )
            # Lightning always gives it, and W&B warns of its use whatever it is
            logger._wandb_init.pop("anonymous", None)
            self.loggers.append(logger)
        self._named = [
            made(x, folder / "logs", run.file_name) for x in kinds if isinstance(x, dict)
        ]
        self.loggers += self._named

    def finish(
        self,
        results: Mapping[str, Any],
        config: Mapping[str, Any],
        shown: Sequence[Prediction],
        model: Path,
        metric: str,
    ) -> None:
        """Log the final numbers and how deep the tokens of some examples went, and close.

        Args:
            results: what was found; numbers become the run's summary, each with its direction.
            config: the settings.
            shown: predictions for some examples.
            model: folder of the trained model.
            metric: what the task is scored by.
        """
        numbers = {k: v for k, v in results.items() if isinstance(v, (int, float))}
        for logger in self._named:
            logger.log_metrics(numbers)
            logger.finalize("success")
        for logger in self.loggers:
            if isinstance(logger, WandbLogger) and logger not in self._named:
                experiment = logger.experiment
                experiment.config.update(dict(config), allow_val_change=True)
                directions = DIRECTIONS | {CHOSEN + metric: VALUE.better}
                for name in numbers:
                    if better := directions.get(name):
                        summary = "max" if better == "more" else "min"
                        experiment.define_metric(name, summary=summary)
                # logged and not only summed up, so that a sweep can follow them
                experiment.log(numbers)
                if shown:
                    experiment.log({"tokens": _token_table(shown)})
                if self.with_models:
                    import wandb

                    artifact = wandb.Artifact(_artifact_name(self.run.name), "model")
                    artifact.add_dir(str(model), policy="immutable")
                    experiment.log_artifact(artifact)
                experiment.finish()


class _Begun(WandbLogger):
    """A run of W&B, or one line on why there is none."""

    @property
    def experiment(self) -> Any:
        """
        Raises:
            UserError: W&B cannot begin it.
        """
        with _beginning():
            return super().experiment


@contextmanager
def _beginning() -> Iterator[None]:
    """Let what keeps W&B from beginning a run be a mistake in the input: no key, no network.

    Raises:
        UserError: it was kept.
    """
    import wandb

    try:
        yield
    except wandb.errors.Error as error:
        raise UserError(
            f"W&B cannot begin a run ({one_line(error)}): set WANDB_MODE=offline and send it later "
            "with 'wandb sync', log in with 'wandb login', or leave wandb out of the loggers"
        ) from error


def wants_wandb(kinds: Sequence[LoggerKind]) -> bool:
    """Whether runs are tracked by Weights & Biases, with models or without."""
    if os.environ.get("WANDB_MODE") == "disabled":  # W&B itself would still make files
        return False
    return "wandb" in kinds or "wandb_models" in kinds


def _wandb_id(folder: Path, name: str) -> str:
    """What W&B knows a run by; the same when it goes on after an interruption."""
    file = folder / "wandb" / "ids" / f"{name}.txt"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, uuid.uuid4().hex[:8])
    return file.read_text(encoding="utf-8")


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


def log_comparison(
    folder: Path,
    figures: Mapping[str, Path],
    tables: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Log the figures and tables of a comparison as a run of its own, the same one every time.

    Args:
        folder: of the comparison.
        figures: PNG files by name.
        tables: data frames by name; "results" has a column "task".
        config: the comparison's settings.
    """
    import wandb

    with _beginning():
        begun = wandb.init(
            project="tokendrop",
            job_type="comparison",
            name=f"comparison-{folder.name}",
            id=_wandb_id(folder, "comparison"),
            resume="allow",
            tags=[str(task)[:TAG_LENGTH] for task in dict.fromkeys(tables["results"]["task"])],
            config=dict(config),
            dir=folder,
            mode="online" if logged_in() else "offline",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True),
        )
    with begun as run:
        images = {name: wandb.Image(str(path)) for name, path in figures.items()}
        frames = {name: wandb.Table(dataframe=table) for name, table in tables.items()}
        run.log({**images, **frames})


def _artifact_name(run: str) -> str:
    """What W&B accepts as a name: letters, digits, dashes, underscores and dots."""
    return re.sub(r"[^\w.-]", "_", run, flags=re.ASCII)[:128]


def _token_table(shown: Sequence[Prediction]) -> wandb.Table:
    import wandb

    table = wandb.Table(columns=["example", "token", "layers", "row_layers", "label"])
    for number, prediction in enumerate(shown):
        for token, depth in zip(prediction.tokens, prediction.token_depth, strict=True):
            table.add_data(number, token, depth, prediction.row_depth, prediction.label)
    return table
