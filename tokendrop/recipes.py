"""Recipes: a method's chain of training stages, each trained once and found again.

A stage's folder is named by a hash of everything that decides its weights: data, backbone, seed,
the stage's settings and all stages before it. So the fine-tuned start is shared by all methods,
and an interrupted recipe goes on where it stopped: finished stages are skipped, and the one that
was cut off resumes after its last whole epoch.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import Logger
from safetensors.torch import save_file
from torch import Tensor

from tokendrop import backbones
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.files import make_folder, whole_file, write_text
from tokendrop.modeling import TokenDropModel, load
from tokendrop.module import TokenDropModule
from tokendrop.reducers import from_spec
from tokendrop.reducers.base import Reducer, Setting, Stage
from tokendrop.reducers.dense import Dense
from tokendrop.saliency import saliency, saliency_cost

# AdapLeR averages saliencies over so many of the best epochs
BEST_EPOCHS = 3

# what every trainer of this package begins with
TRAINER_DEFAULTS: dict[str, Any] = {
    "devices": 1,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
    "enable_model_summary": False,
}

MakeTrainer = Callable[[Stage, list[Callback]], Trainer]


@dataclass(frozen=True)
class TrainedStage:
    """A finished stage.

    Attributes:
        folder: the stage's folder; the model lies in ``model`` inside it.
        seconds: training time, over all its resumptions, and that of the saliencies it begins with.
        flops: of the same work: all passes of the training steps forward and backward, the passes
            over the dev split that its epoch is chosen by, and the saliencies.
        curve: the logged metrics after each epoch.
        chosen: those of the epoch whose weights are kept.
    """

    name: str
    epochs: int
    folder: Path
    seconds: float
    flops: int
    curve: list[dict[str, float]]
    chosen: dict[str, float]

    @property
    def model(self) -> Path:
        return self.folder / "model"


def train(
    module: TokenDropModule, data: TextData, seed: int, root: Path, make_trainer: MakeTrainer
) -> list[TrainedStage]:
    """Train a method's whole recipe, beginning with the shared fine-tuning.

    Args:
        module: the method and the settings of its training.
        data: the task.
        seed: decides the head's random start, the order of the batches and dropout.
        root: where the folders of the stages lie, for all methods of a comparison.
        make_trainer: gives a trainer for a stage, with these callbacks added.

    Returns:
        the stages in order; the last one holds the trained method.

    Raises:
        UserError: bad data or arguments, a loss that is not a number, a full disk.
    """
    make_folder(root)
    data.seed = seed
    data.setup("fit")
    # the method's arguments are checked against the backbone before anything is trained
    reducer = from_spec(module.reducer_spec)
    config = backbones.load_config(module.backbone, data.labels, module.random_init, data.task)
    reducer.build(backbones.shape_of(config, data.longest, data.task))
    described: dict[str, Any] = {
        "backbone": module.backbone,
        "random_init": module.random_init,
        "data": data.fingerprint(),
        "metric": module.metric,
        "seed": seed,
    }
    done: list[TrainedStage] = []
    plan = [(module.fine_tune, Dense().spec())]
    plan += [(stage, reducer.spec(trained=True)) for stage in reducer.stages()]
    for stage, spec in plan:
        described = {"after": described, "stage": asdict(stage), "reducer": spec}
        folder = root / f"{stage.name}-{_key(described)}"
        if (trained := _finished(folder)) is None:
            before = done[-1].model if done and stage.start == "previous" else None
            model = _start(module, data, spec, seed, before)
            asked: list[Path] = []
            setting = _setting(module, data, stage, done[0] if done else None, asked)
            trained = _train_stage(
                module, data, model, stage, setting, seed, folder, make_trainer, asked
            )
        done.append(trained)
    spec = reducer.spec(trained=True)
    if len(plan) == 1 and spec != Dense().spec():
        folder = root / f"untrained-{_key({'after': described, 'reducer': spec})}"
        trained = _finished(folder)
        done.append(
            trained or _untrained(module, data, reducer, done[-1].model, folder, make_trainer)
        )
    return done


def _key(described: dict[str, Any]) -> str:
    """A short name for everything that decides a stage's weights."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _untrained(
    module: TokenDropModule,
    data: TextData,
    reducer: Reducer,
    before: Path,
    folder: Path,
    make_trainer: MakeTrainer,
) -> TrainedStage:
    """The fine-tuned model with a method that needs no training of its own."""
    tuned = load(before)
    model = TokenDropModel(tuned.backbone, reducer, tuned.tokenizer, data.longest)
    module.begin(model, data.make_task(module.metric), data.splits)
    trainer = make_trainer(Stage("untrained", 1, 0.0), [])
    (chosen,) = trainer.validate(module, data, verbose=False)
    model.save_pretrained(folder / "model")
    finished: dict[str, Any] = {
        "name": "untrained",
        "epochs": 0,
        "seconds": 0.0,
        "flops": 0,
        "curve": [],
        "chosen": dict(chosen),
    }
    write_text(folder / "done.json", json.dumps(finished, indent=1))
    return TrainedStage(folder=folder, **finished)


def _fresh(module: TokenDropModule, data: TextData, reducer: Reducer, seed: int) -> TokenDropModel:
    seed_everything(seed, verbose=False)
    tokenizer = backbones.load_tokenizer(module.backbone)
    backbone = backbones.load_backbone(module.backbone, data.labels, module.random_init, data.task)
    return TokenDropModel(backbone, reducer, tokenizer, data.longest)


def _start(
    module: TokenDropModule, data: TextData, spec: dict[str, Any], seed: int, before: Path | None
) -> TokenDropModel:
    """The model that a stage begins with: pretrained, or as the stage before left it."""
    if before is None:
        return _fresh(module, data, from_spec(spec), seed)
    previous = load(before)
    if previous.reducer.spec(trained=True) == spec:
        return previous
    seed_everything(seed, verbose=False)
    reducer = from_spec(spec)
    return TokenDropModel(previous.backbone, reducer, previous.tokenizer, data.longest)


def _train_stage(
    module: TokenDropModule,
    data: TextData,
    model: TokenDropModel,
    stage: Stage,
    setting: Setting,
    seed: int,
    folder: Path,
    make_trainer: MakeTrainer,
    asked: list[Path],
) -> TrainedStage:
    """Train a stage; ``asked`` holds the files of saliencies that it asks its setting for."""
    module.begin(model, data.make_task(module.metric), data.splits, stage, seed)
    data.reshuffle = stage.reshuffle
    best = ModelCheckpoint(
        folder, "best", monitor="dev/score", mode="max", save_weights_only=True,
        enable_version_counter=False,
    )  # fmt: skip
    last = ModelCheckpoint(
        folder, "last", save_on_train_epoch_end=True, enable_version_counter=False
    )
    curve = _Curve()
    callbacks: list[Callback] = [curve, best, last]
    if stage == module.fine_tune:
        callbacks.append(_EveryEpoch(folder))
    trainer = make_trainer(stage, callbacks)
    model.reducer.enter(stage, setting)
    resumed = folder / "last.ckpt"
    try:
        trainer.fit(module, data, ckpt_path=resumed if resumed.is_file() else None)
    except OSError as error:
        raise UserError(f"cannot write checkpoints to {folder} ({error.strerror})") from error
    except SystemExit as error:
        # Lightning turns Ctrl-C into an exit, which would skip the word on how to go on
        raise KeyboardInterrupt from error
    chosen = curve.epochs[-1]
    if stage.keep == "best":
        chosen = max(curve.epochs, key=lambda metrics: metrics["dev/score"])
        module.load_state_dict(torch.load(folder / "best.ckpt", weights_only=True)["state_dict"])
    model.reducer.leave(stage, {k.removeprefix("dev/"): v for k, v in chosen.items()})
    model.save_pretrained(folder / "model")
    costs = [(curve.flops, curve.seconds), *map(saliency_cost, set(asked))]
    flops, seconds = (sum(each) for each in zip(*costs, strict=True))
    finished: dict[str, Any] = {
        "name": stage.name,
        "epochs": stage.epochs,
        "seconds": seconds,
        "flops": flops,
        "curve": curve.epochs,
        "chosen": chosen,
    }
    write_text(folder / "done.json", json.dumps(finished, indent=1))
    for checkpoint in (folder / "best.ckpt", resumed):
        checkpoint.unlink(missing_ok=True)
    return TrainedStage(folder=folder, **finished)


def _setting(
    module: TokenDropModule,
    data: TextData,
    stage: Stage,
    start: TrainedStage | None,
    asked: list[Path],
) -> Setting:
    """What a stage may ask about the data and about the shared fine-tuning before it.

    Saliencies that it asks for are noted in ``asked``, so that their cost can be charged to it.
    """
    split = data.splits["train"]
    lengths, steps = torch.tensor(split.lengths), len(data.train_dataloader()) * stage.epochs
    task = data.make_task(module.metric)
    ends = (min(split.labels), max(split.labels)) if task.kind == "regression" else (0.0, 1.0)
    if start is None:
        return Setting(lengths, steps, answer_range=ends)
    scores = [metrics["dev/score"] for metrics in start.curve]

    def find() -> list[Tensor]:
        order = sorted(range(len(scores)), key=lambda epoch: -scores[epoch])
        weights = [_EveryEpoch.weights(start.folder, epoch + 1) for epoch in order[:BEST_EPOCHS]]
        file = start.folder / "saliency.safetensors"
        asked.append(file)
        return saliency(start.model, weights, data, task.gold, file)

    return Setting(lengths, steps, max(scores), find, ends)


def _finished(folder: Path) -> TrainedStage | None:
    """A finished stage, or None. The marker is written last, so what it marks is complete.

    Raises:
        UserError: the marker is another version's.
    """
    marker = folder / "done.json"
    if not marker.is_file():
        return None
    try:
        return TrainedStage(folder=folder, **json.loads(marker.read_text()))
    except TypeError as error:
        raise UserError(
            f"{folder} was trained by another version of tokendrop: delete it and run again"
        ) from error


class _EveryEpoch(Callback):
    """Keep the weights of each epoch of the fine-tuning, which saliencies are averaged over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def weights(folder: Path, epoch: int) -> Path:
        return folder / f"epoch{epoch}.safetensors"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TokenDropModule)
        with whole_file(self.weights(self.folder, trainer.current_epoch + 1)) as draft:
            save_file(pl_module.model.backbone.state_dict(), draft)


class _Curve(Callback):
    """Metrics after each epoch, and time and FLOPs spent, all kept across a resumption."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0
        self.flops = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, TokenDropModule)
        self.seconds += time.perf_counter() - self.started
        self.flops += pl_module.train_flops
        pl_module.train_flops = 0
        metrics = {k: round(float(v), 6) for k, v in trainer.callback_metrics.items()}
        self.epochs.append({"epoch": trainer.current_epoch + 1, **metrics})

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "seconds": self.seconds, "flops": self.flops}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = state_dict["epochs"]
        self.seconds = state_dict["seconds"]
        self.flops = state_dict["flops"]


def trainer_maker(loggers: Sequence[Logger], label: str) -> MakeTrainer:
    """Trainers for the stages of a recipe, on one device.

    Args:
        loggers: shared by all stages.
        label: what progress is shown under, before the stage's name.
    """

    def make(stage: Stage, callbacks: list[Callback]) -> Trainer:
        return Trainer(
            **TRAINER_DEFAULTS,
            max_epochs=stage.epochs,
            logger=list(loggers),
            callbacks=[*callbacks, progress(f"{label} {stage.name}")],
            # training batches are drawn anew from (seed, epoch)
            reload_dataloaders_every_n_epochs=1,
        )

    return make


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
        shown = {k: v for k, v in trainer.callback_metrics.items() if k.startswith("dev/")}
        scores = ", ".join(f"{name} {float(value):.4f}" for name, value in shown.items())
        epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
        seconds = time.perf_counter() - self.started
        print(f"{self.label} {epoch}: {scores} ({seconds:.0f} s)", file=sys.stderr, flush=True)

    def disable(self) -> None:
        """Lightning asks for this on all but the first of several processes."""
        self.on_validation_end = lambda *_: None  # type: ignore[method-assign]
