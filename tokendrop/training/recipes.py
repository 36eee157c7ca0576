"""Recipes: a method's chain of training stages, each trained once and found again.

A stage's folder is named by a hash of everything that decides its weights: data, backbone, seed,
the trainer's device, precision and limits, the stage's settings and all stages before it. So the
fine-tuned start is shared by all methods, and an interrupted recipe goes on where it stopped:
finished stages are skipped, and the one that was cut off resumes after its last whole epoch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.loggers import Logger
from transformers import PretrainedConfig

from tokendrop.bounds import Positive, Seed, check
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.files import file_name, make_folder
from tokendrop.holding import one_at_a_time
from tokendrop.models import backbones
from tokendrop.models.checkpoints import check_vocabulary
from tokendrop.models.fingerprint import backbone_fingerprint
from tokendrop.models.model import TokenDropModel, load_with
from tokendrop.reducers import from_spec
from tokendrop.reducers.base import Stage
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.given import stages_of
from tokendrop.training.finished import TrainedStage, finished, tell_changed
from tokendrop.training.module import TokenDropModule
from tokendrop.training.processes import is_first, meet
from tokendrop.training.progress import progress
from tokendrop.training.stages import (
    MakeTrainer,
    Recipe,
    train_stage,
    untrained,
)
from tokendrop.training.trainer_options import decisive
from tokendrop.training.work import Done, unheard

# what every trainer of this package begins with
TRAINER_DEFAULTS: dict[str, Any] = {
    "devices": 1,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 10,
    "enable_model_summary": False,
}


AS_GIVEN = Stage("as_given", 0, 0.0)
"""In the place of the fine-tuning, where a backbone is taken as it is."""

Precision = Literal["32-true", "bf16-mixed"]


@dataclass(frozen=True)
class Planned:
    """A stage that a recipe has.

    Attributes:
        stage: its settings.
        spec: of the reducer that it trains, or that it only puts into the model if it has 0 epochs.
        folder: where it is trained, and found again.
    """

    stage: Stage
    spec: dict[str, Any]
    folder: Path


def plan(
    module: TokenDropModule, data: TextData, seed: int, root: Path, make_trainer: MakeTrainer
) -> list[Planned]:
    """The stages of a method's recipe, beginning with the shared fine-tuning; see :func:`train`.

    Raises:
        UserError: bad data, a backbone that cannot be taken as it is, or arguments that do not fit
            it.
    """
    data.make_task(module.metric)  # which checks the metric
    reducer = from_spec(module.reducer_spec)
    first = module.fine_tune or AS_GIVEN
    config = backbone_config(module.backbone, module.random_init, data, module.fine_tune)
    reducer.build(backbones.shape_of(config, data.longest, data.task))
    described: dict[str, Any] = {
        "backbone": module.backbone,
        "random_init": module.random_init,
        "data": data.fingerprint(),
        "metric": module.metric,
        "seed": seed,
    } | decisive(make_trainer(first, []))
    if weights := backbone_fingerprint(module.backbone, module.random_init):
        described["weights"] = weights
    if module.compiled:
        described["compile"] = True
    if module.patience is not None:
        described["patience"] = module.patience
    dense, spec = Dense().spec(), reducer.spec(trained=True)
    stages = [(first, dense), *((stage, spec) for stage in stages_of(reducer))]
    found: list[Planned] = []
    for stage, trained_as in stages:
        described = {"after": described, "stage": asdict(stage), "reducer": trained_as}
        if found and reducer.recipe > 1:
            described["recipe"] = reducer.recipe
        found.append(
            Planned(stage, trained_as, root / f"{file_name(stage.name)}-{_key(described)}")
        )
    if len(stages) == 1 and spec != dense:
        folder = root / f"untrained-{_key({'after': described, 'reducer': spec})}"
        # evaluated at its operating point, which is no part of the key
        found.append(Planned(Stage("untrained", 0, 0.0), reducer.spec(), folder))
    return found


def train(
    module: TokenDropModule,
    data: TextData,
    seed: int,
    root: str | Path,
    make_trainer: MakeTrainer,
    done: Done = unheard,
    count: int | None = None,
) -> list[TrainedStage]:
    """Train a method's whole recipe, beginning with the shared fine-tuning.

    A stage that another process trains is waited for.

    Args:
        module: the method and the settings of its training.
        data: the task.
        seed: decides the head's random start, the order of the batches and dropout.
        root: where the folders of the stages lie, for all methods of a comparison.
        make_trainer: gives a trainer for a stage, with these callbacks added. Its device,
            precision and limits of batches are in the stages' keys, and must be the same for all.
            Callbacks of its own are not: with other ones that change weights take another root.
            It asks for new batches each epoch and does without Lightning's sanity check, whatever
            it says itself.
        done: is told how much has been done.
        count: train only so many stages of it, if given.

    Returns:
        the stages in order; the last one holds the trained method.

    Raises:
        UserError: bad data or arguments, a trainer that would spoil a stage, a loss that is not a
            number, a full disk.
    """
    check({"seed": seed}, {"seed": Seed})
    check_fine_tune(module.fine_tune)
    root = Path(root)
    make_folder(root)
    data.setup("fit")
    # the method's arguments are checked against the backbone before anything is trained
    stages = plan(module, data, seed, root, make_trainer)[:count]
    known = [finished(planned.folder) for planned in stages]  # reads all of a stage, so once
    tell_changed(known, from_spec(module.reducer_spec))
    if None in known:
        meet(make_trainer(stages[0].stage, []))
    recipe = Recipe(module, data, seed, make_trainer, done)
    trained: list[TrainedStage] = []
    trained_as: dict[str, Any] = {}
    for planned, found in zip(stages, known, strict=True):
        if found is None:
            follows = trained and planned.stage.start == "previous"
            before = (trained[-1].model, trained_as) if follows else None
            found = _trained(recipe, planned, before, trained[0] if trained else None)
        trained.append(found)
        trained_as = planned.spec
    return trained


def _trained(
    recipe: Recipe,
    planned: Planned,
    before: tuple[Path, dict[str, Any]] | None,
    tuned: TrainedStage | None,
) -> TrainedStage:
    """Train a stage, or find it once another process has.

    Args:
        recipe: what it is a part of.
        planned: the stage.
        before: the model that it begins with and what that was trained as, if it begins with one.
        tuned: the shared fine-tuning, None if it is that.
    """
    folder = planned.folder
    with one_at_a_time(folder) if is_first() else nullcontext():
        if (found := finished(folder)) is not None:
            return found
        model = _start(recipe, planned.spec, before)
        if (stage := planned.stage).epochs == 0:
            return untrained(recipe, model, stage.name, folder, first=tuned is None)
        return train_stage(recipe, model, stage, tuned, folder)


def backbone_config(
    backbone: str, random_init: dict[str, Any] | None, data: TextData, fine_tune: Stage | None
) -> PretrainedConfig:
    """The configuration of a backbone for a task, whose classes follow those of a finished head.

    Raises:
        UserError: no such backbone, one that does not fit the data or has another tokenizer, or one
            that is to be taken as it is and has no finished head.
    """
    data.check_backbone(backbone)
    if fine_tune is None:
        backbones.check_finished(backbone, random_init, data.task)
    names = backbones.names_of_head(backbone, random_init, data.task)
    if names is not None:
        data.follow(names, data.task, backbone)
    return backbones.load_config(backbone, data.labels, random_init, data.task)


def check_fine_tune(stage: Stage | None) -> None:
    """Raise if there is a fine-tuning that trains nothing.

    Raises:
        UserError: it has no epoch, or a learning rate of 0.
    """
    if stage is not None and stage.epochs < 1:
        raise UserError(
            f"fine_tune.epochs {stage.epochs} is too small: use 1 or more, or fine_tune: null to "
            "take a model that was fine-tuned for the task as it is"
        )
    if stage is not None:
        check({"learning_rate": stage.learning_rate}, {"learning_rate": Positive}, "fine_tune.")


def _key(described: dict[str, Any]) -> str:
    """A short name for everything that decides a stage's weights."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _start(
    recipe: Recipe, spec: dict[str, Any], before: tuple[Path, dict[str, Any]] | None
) -> TokenDropModel:
    """The model that a stage begins with: pretrained, or as the stage before left it.

    Args:
        recipe: what all stages share.
        spec: of the reducer.
        before: the model of the stage before, and the reducer it was trained with.
    """
    if before is None:
        return _fresh(recipe, spec)
    folder, trained_as = before
    previous = load_with(folder, from_spec(trained_as))
    if trained_as == spec:
        return previous
    seed_everything(recipe.seed, verbose=False)
    reducer = from_spec(spec)
    data = recipe.data
    return TokenDropModel(
        previous.backbone, reducer, previous.tokenizer, data.longest, data.answering
    )


def _fresh(recipe: Recipe, spec: dict[str, Any]) -> TokenDropModel:
    module, data = recipe.module, recipe.data
    seed_everything(recipe.seed, verbose=False)
    tokenizer = backbones.load_tokenizer(module.backbone)
    backbone = backbones.load_backbone(module.backbone, data.labels, module.random_init, data.task)
    check_vocabulary(tokenizer, backbone.config)
    return TokenDropModel(backbone, from_spec(spec), tokenizer, data.longest, data.answering)


def trainer_maker(
    loggers: Sequence[Logger], label: str, precision: Precision = "32-true"
) -> MakeTrainer:
    """Trainers for the stages of a recipe, on one device.

    Args:
        loggers: shared by all stages.
        label: what progress is shown under, before the stage's name.
        precision: of the operators; the weights and the methods' decisions are in fp32 always.
    """

    def make(stage: Stage, callbacks: list[Callback]) -> Trainer:
        return Trainer(
            **TRAINER_DEFAULTS,
            max_epochs=stage.epochs,
            precision=precision,
            logger=list(loggers),
            callbacks=[*callbacks, progress(f"{label} {stage.name}")],
        )

    return make
