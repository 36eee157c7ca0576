"""Options of Lightning's trainer: which are refused, and which decide a stage's weights.

An option is one of three kinds. What a recipe sets itself, or what cannot work with it, is refused
(:data:`FIT`, :data:`EVALUATION`). What decides the weights or which epoch's are kept is in the
stage's key (:func:`decisive`). The others are harmless: they change what is shown or logged
(log_every_n_steps, enable_progress_bar, enable_model_summary, profiler, detect_anomaly,
default_root_dir, enable_autolog_hparams), what another command does (limit_test_batches,
limit_predict_batches), how fast the same numbers are found (benchmark, inference_mode), or what
only several devices have (sync_batchnorm, use_distributed_sampler; of devices and num_nodes the
number of processes is in the key).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
)
from lightning.pytorch.plugins import MixedPrecision, Precision

from tokendrop.errors import UserError, one_line

ONE_DEVICE = "evaluation runs on one device: leave it out (CUDA_VISIBLE_DEVICES says which)"


@dataclass(frozen=True)
class Rule:
    """Values of an option that can be used, and what to do instead of the others."""

    fits: Callable[[Any], bool]
    cure: str


def _only(*values: Any) -> Callable[[Any], bool]:
    # 1 batch and 1.0, all of them, are equal for Python
    return lambda given: any(type(given) is type(x) and given == x for x in values)


def _is_one(devices: Any) -> bool:
    """Whether this may mean one device; what "auto" and -1 mean is known to the trainer only."""
    if isinstance(devices, str) and "," in devices:
        return len([index for index in devices.split(",") if index.strip()]) <= 1
    if isinstance(devices, list):
        return len(devices) <= 1
    return devices == "auto" or not str(devices).isdigit() or int(devices) <= 1


def _some(limit: Any) -> bool:
    return limit is None or limit != 0


_LENGTH = "a stage is as long as its epochs: set model.fine_tune.epochs and those of the method"
_CHOICE = (
    "the dev split is evaluated after each epoch, to keep the best one's weights: leave it out"
)
_CLIP = "set model.fine_tune.clip, the largest norm; methods have their papers'"
_NONE_LEFT = "no batches would be left: use 1 or more"
_PRECISION = "weights and decisions are in fp32: use trainer.precision 32-true or bf16-mixed"
PRECISIONS = ("32-true", "bf16-mixed")

EVALUATION = {
    "devices": Rule(_is_one, ONE_DEVICE),
    "num_nodes": Rule(_only(1), ONE_DEVICE),
    "strategy": Rule(_only("auto", "single_device"), ONE_DEVICE),
    "precision": Rule(_only(None, *PRECISIONS, "32", 32, "bf16"), _PRECISION),
    "fast_dev_run": Rule(
        _only(False, 0),
        "it keeps nothing that could be measured: use trainer.limit_train_batches 1 and "
        "trainer.limit_val_batches 1, or trainer.limit_test_batches 1",
    ),
    "barebones": Rule(_only(False), "it logs nothing, and so measures nothing: leave it out"),
    "limit_val_batches": Rule(_some, _NONE_LEFT),
    "limit_test_batches": Rule(_some, _NONE_LEFT),
}
"""What spoils every use of a trainer."""

_PLACES = ("devices", "num_nodes", "strategy")
FIT = {name: rule for name, rule in EVALUATION.items() if name not in _PLACES} | {
    "strategy": Rule(
        _only("auto", "single_device", "ddp"),
        "several processes train with trainer.strategy ddp, which holds the whole model in each "
        "and averages the gradients of every method; split models and spawned processes are not "
        "supported",
    ),
    "limit_train_batches": Rule(_some, _NONE_LEFT),
    "max_epochs": Rule(_only(None), _LENGTH),
    "min_epochs": Rule(_only(None), _LENGTH),
    "max_steps": Rule(_only(-1), _LENGTH),
    "min_steps": Rule(_only(None), _LENGTH),
    "max_time": Rule(_only(None), _LENGTH),
    "accumulate_grad_batches": Rule(_only(1), "set data.batch_size"),
    "gradient_clip_val": Rule(_only(None, 0, 0.0), _CLIP),
    "gradient_clip_algorithm": Rule(_only(None), _CLIP),
    "val_check_interval": Rule(_only(None), _CHOICE),
    "check_val_every_n_epoch": Rule(_only(1), _CHOICE),
    "num_sanity_val_steps": Rule(
        _only(0), "its passes would be counted as training's: leave it out"
    ),
    "reload_dataloaders_every_n_epochs": Rule(
        _only(0, 1), "batches are drawn anew for each epoch: leave it out"
    ),
    "enable_checkpointing": Rule(
        _only(None, True), "stages are continued and chosen from checkpoints: leave it out"
    ),
    "logger": Rule(
        _only(None, False), "name loggers with --loggers, e.g. --loggers '[csv, wandb]'"
    ),
    "callbacks": Rule(
        lambda given: not given,
        "stages have callbacks of their own: from Python, give tokendrop.training.recipes.train "
        "trainers with yours",
    ),
    "model_registry": Rule(
        _only(None), "use --loggers '[wandb_models]', or push_to_hub from Python"
    ),
}
"""What a recipe sets itself, or what cannot work with it."""

_OF_TRAINING = ["max_steps", "limit_train_batches", "check_val_every_n_epoch"]
_OF_TRAINING += ["accumulate_grad_batches", "gradient_clip_val"]
_RECIPE = (
    "a stage's recipe says its rates, batches and what learns, and steps that try some would be "
    "counted as training: make the trainer without it"
)
_CALLBACKS: dict[type[Callback], str] = {
    **dict.fromkeys((LearningRateFinder, BatchSizeFinder, BaseFinetuning), _RECIPE),
    GradientAccumulationScheduler: "methods make their steps themselves: set data.batch_size",
    StochasticWeightAveraging: "what it averages is never measured: use EMAWeightAveraging",
}

# what evaluations share with training, or what Lightning does in both
_IN_BOTH = {*EVALUATION, "logger", "callbacks"} - {"limit_val_batches", "limit_test_batches"}
_LIMITS = {"train": "limit_train_batches", "dev": "limit_val_batches", "test": "limit_test_batches"}
# those of an object that can stand in a key
_SETTINGS = (bool, int, float, str, torch.dtype)
WHOLE = dict.fromkeys(_LIMITS.values(), _only(1.0)) | {"overfit_batches": _only(0.0, 0)}
"""Values with which every batch is seen, of each limit that a command may have."""
MAY_DECIDE = {"precision", "plugins", "accelerator", "devices", "num_nodes", "deterministic"}
MAY_DECIDE |= WHOLE.keys() - {"limit_test_batches"}
"""Those that :func:`decisive` reads what decides from, by the names that settings have."""


def refuse(options: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Raise for the first option that cannot be used.

    Args:
        options: of the trainer, as they were parsed.
        rules: :data:`FIT` or :data:`EVALUATION`.

    Raises:
        UserError: which one, and what to do instead.
    """
    for name, rule in rules.items():
        if not rule.fits(options[name]):
            raise UserError(f"{shown(name, options[name])} cannot be used: {rule.cure}")


def refuse_idle(names: Iterable[str], split: Literal["dev", "test"] | None) -> None:
    """Raise for an option that was given to a command in which it has no part.

    Args:
        names: the options that were given.
        split: which one the command evaluates, None if it uses no trainer.

    Raises:
        UserError: the first such option.
    """
    only_fit = {"overfit_batches", *FIT, *_LIMITS.values()} - _IN_BOTH
    for name in names:
        if split is None or (name in only_fit and name != _LIMITS[split]):
            raise UserError(f"trainer.{name} has no part in this command: leave it out")


def shown(name: str, value: Any) -> str:
    """An option with its value, for a message; of objects only the class.

    >>> shown("devices", "2"), shown("callbacks", [{"class_path": "lightning.Timer"}])
    ('trainer.devices 2', 'trainer.callbacks lightning.Timer')
    """
    values = value if isinstance(value, list) else [value]
    classes = [x["class_path"] for x in values if isinstance(x, Mapping) and "class_path" in x]
    if classes:
        return f"trainer.{name} {', '.join(classes)}"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return f"trainer.{name} {text}"


def check_alone(trainer: Trainer) -> None:
    """Raise for several devices, which are known only of a whole trainer: "auto" and -1.

    Raises:
        UserError: how many there are.
    """
    if (count := trainer.world_size) > 1:
        raise UserError(f"trainer.devices means {count} devices here: use trainer.devices 1")


def check_made(trainer: Trainer) -> None:
    """Raise for what is known only of a whole trainer: what its plugins do.

    Raises:
        UserError: its precision, or a plugin's.
    """
    if trainer.precision not in PRECISIONS:
        raise UserError(
            f"trainer.precision, or one of its plugins, is {trainer.precision}, which cannot be "
            f"used: {_PRECISION}"
        )


def check_own(trainer: Trainer, callbacks: Sequence[Callback], epochs: int | None = None) -> None:
    """Raise for a trainer that was made elsewhere and would spoil a stage, before it runs.

    Args:
        trainer: as it was made.
        callbacks: that it was to be made with.
        epochs: of the stage, None if it is only evaluated.

    Raises:
        UserError: its precision, an option, or callbacks that it lacks.
    """
    check_made(trainer)
    rules = {name: FIT[name] for name in ("fast_dev_run", "limit_val_batches")}
    if epochs is not None:
        rules |= {
            "max_epochs": Rule(_only(epochs), f"this stage has {epochs}: use stage.epochs"),
            "val_check_interval": Rule(_only(1.0), _CHOICE),
        }
        rules |= {name: FIT[name] for name in _OF_TRAINING}
    refuse({name: getattr(trainer, name) for name in rules}, rules)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for kind, cure in _CALLBACKS.items():
            if isinstance(callback, kind):
                raise UserError(f"the trainer's {type(callback).__name__} cannot be used: {cure}")
    if not set(callbacks) <= set(trainer.callbacks):  # type: ignore[attr-defined]
        raise UserError(
            "the trainer lacks callbacks that make_trainer was given, which keep the checkpoints "
            "and the curve: make it with callbacks=[*callbacks, ...]"
        )


def decisive(trainer: Trainer) -> dict[str, Any]:
    """What of a trainer decides the weights, for the key of a stage.

    Only the precision stands there for a trainer with Lightning's defaults on a CPU, so that
    folders of versions that knew only that are found again.
    """
    found: dict[str, Any] = {}
    if (device := trainer.strategy.root_device.type) != "cpu":
        found["device"] = device
    limits = {name: getattr(trainer, name) for name in WHOLE if name != "limit_test_batches"}
    found |= {name: limit for name, limit in limits.items() if not WHOLE[name](limit)}
    plugin = trainer.precision_plugin
    if type(plugin) not in (Precision, MixedPrecision):
        settings = {k: str(v) for k, v in vars(plugin).items() if isinstance(v, _SETTINGS)}
        made = type(plugin)
        found["precision_plugin"] = {"class_path": f"{made.__module__}.{made.__name__}"} | settings
    if trainer.world_size > 1:
        found["processes"] = trainer.world_size
    if torch.are_deterministic_algorithms_enabled():
        found["deterministic"] = True
    return {"precision": trainer.precision} | ({"trainer": found} if found else {})


def limit_of(trainer: Trainer, *names: str) -> str:
    """The first of these limits that keeps a trainer from all batches, nothing if none does."""
    limits = {name: getattr(trainer, name) for name in names}
    return next((shown(k, value) for k, value in limits.items() if not WHOLE[k](value)), "")


def limited(trainer: Trainer, batches: int) -> int:
    """How many of an epoch's training batches a trainer takes."""
    limit = trainer.limit_train_batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Lightning's complaints that come only once it knows the data, e.g. of a limit, as ours.

    Raises:
        UserError: such a complaint.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise UserError(f"the trainer cannot run: {one_line(error)}") from error
