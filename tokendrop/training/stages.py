"""One stage of a recipe: trained, evaluated and saved."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from tokendrop import sums
from tokendrop.data import TextData
from tokendrop.data.batching import Place
from tokendrop.data.text_data import StageData
from tokendrop.errors import UserError
from tokendrop.measure.flops import dense_flops
from tokendrop.models import backbones
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.base import Stage, StageContext
from tokendrop.reducers.own_code import code_of
from tokendrop.training.checkpoints import (
    BestWeights,
    LastEpoch,
    WholeCheckpoints,
    read_checkpoint,
    resumable,
    save_tensors,
)
from tokendrop.training.curves import Curve, GoOn, Patience
from tokendrop.training.finished import TrainedStage, finish
from tokendrop.training.memory import FreedMemory
from tokendrop.training.module import TokenDropModule
from tokendrop.training.processes import is_first, wait
from tokendrop.training.saliency import (
    Score,
    batch_attention,
    batch_saliency,
    cost_of,
    over_training_rows,
)
from tokendrop.training.trainer_options import check_own, in_one_line, limited
from tokendrop.training.work import Done, Steps

log = logging.getLogger(__name__)

# AdapLeR averages saliencies over so many of the best epochs
BEST_EPOCHS = 3

MakeTrainer = Callable[[Stage, list[Callback]], Trainer]


@dataclass(frozen=True)
class Recipe:
    """What all stages of a recipe share, see :func:`tokendrop.training.recipes.train`."""

    module: TokenDropModule
    data: TextData
    seed: int
    make_trainer: MakeTrainer
    done: Done


def untrained(
    recipe: Recipe, model: TokenDropModel, name: str, folder: Path, *, first: bool
) -> TrainedStage:
    """A model with a method that needs no training, or no more; it is evaluated as it is.

    Args:
        recipe: what all stages share.
        model: to evaluate.
        name: of the stage.
        folder: for the result.
        first: whether it is the model that all methods begin with.
    """
    splits = recipe.data.splits
    recipe.module.begin(model, recipe.data.make_task(recipe.module.metric), splits)
    callbacks: list[Callback] = [GoOn(name), Steps(recipe.done)]
    trainer = recipe.make_trainer(Stage(name, 1, 0.0), callbacks)
    check_own(trainer, callbacks)
    with in_one_line():
        (chosen,) = trainer.validate(recipe.module, recipe.data, verbose=False)
    if is_first():
        model.save_pretrained(folder / "model")
    train, dev = (
        dense_flops(splits[split].lengths, model.backbone, model.shape)
        for split in ("train", "dev")
    )
    return finish(
        TrainedStage(
            name=name,
            epochs=0,
            folder=folder,
            seconds=0.0,
            flops=0,
            curve=[],
            chosen=dict(chosen),
            epoch_flops=3 * train + dev if first else 0,
            code=code_of(model.reducer),
        )
    )


def train_stage(
    recipe: Recipe, model: TokenDropModel, stage: Stage, tuned: TrainedStage | None, folder: Path
) -> TrainedStage:
    """Train a model for a stage, from its last whole epoch on if it was cut off.

    Args:
        recipe: what all stages share.
        model: to begin with.
        stage: its settings.
        tuned: the shared fine-tuning, None while that is trained itself.
        folder: for its checkpoints and the result.

    Raises:
        UserError: a loss that is not a number, a full disk, a trainer that cannot run, or one that
            ends before the first epoch.
    """
    try:
        return _train_stage(recipe, model, stage, tuned, folder)
    finally:
        _let_go(recipe.module)


def _let_go(module: TokenDropModule) -> None:
    """Take model and optimisers from a module and the trainer that it had.

    The two hold each other. All that they hold would stay until Python looks for circles, which it
    seldom does: in a comparison, several trainings' worth of memory.
    """
    if module._trainer is not None:
        strategy = module.trainer.strategy
        strategy.optimizers, strategy.lr_scheduler_configs = [], []
    module.groups = []
    del module.model


def _train_stage(
    recipe: Recipe, model: TokenDropModel, stage: Stage, tuned: TrainedStage | None, folder: Path
) -> TrainedStage:
    module, data = recipe.module, recipe.data
    module.begin(model, data.make_task(module.metric), data.splits, stage, recipe.seed)
    best = BestWeights(folder)
    curve = Curve()
    callbacks: list[Callback] = [curve, GoOn(stage.name), best, LastEpoch(folder)]
    callbacks += [Steps(recipe.done), FreedMemory()]
    if tuned is None:
        callbacks.append(_EveryEpoch(folder))
    # a stage that ends with its last weights needs all of its epochs
    if module.patience is not None and stage.keep == "best":
        callbacks.append(Patience(curve, module.patience))
    trainer = recipe.make_trainer(stage, callbacks)
    check_own(trainer, callbacks, stage.epochs)
    # whatever Lightning's defaults are: batches are drawn anew from (seed, epoch), and a look at
    # the dev split before the first step would be counted as training
    trainer.reload_dataloaders_every_n_epochs = 1  # type: ignore[attr-defined]
    trainer.num_sanity_val_steps = 0
    best_file, last_file = folder / "best.ckpt", folder / "last.ckpt"
    code = code_of(model.reducer)
    trainer.strategy.checkpoint_io = WholeCheckpoints(best_file, code)
    asked: set[Path] = set()
    model.reducer.enter(stage, _context(recipe, stage, tuned, trainer, asked))
    resumed = resumable(last_file, best_file, code)
    try:
        with in_one_line():
            trainer.fit(
                module,
                StageData(data, recipe.seed, stage.reshuffle),
                ckpt_path=last_file if resumed else None,
                weights_only=True,
            )
    except OSError as error:
        raise UserError(
            f"cannot write checkpoints to {folder} ({error.strerror or error}): make room; the "
            "same command continues from the last whole epoch"
        ) from error
    except SystemExit as error:
        # Lightning turns Ctrl-C into an exit, which would skip the word on how to go on
        raise KeyboardInterrupt from error
    if not (ran := len(curve.epochs)):
        raise UserError(
            f"{stage.name} was ended before its first epoch, so there is no model to keep: give "
            "the trainer no callback or max_time that ends it so early"
        )
    if ran < stage.epochs:
        why = ""  # a callback of the user's own may end it as well
        if (patience := module.patience) is not None:
            why = f": no dev score above that of epoch {ran - patience} in the last {patience}"
        log.warning("%s ended after epoch %d of %d%s", stage.name, ran, stage.epochs, why)
    chosen = curve.epochs[-1]
    if stage.keep == "best":
        kept = read_checkpoint(best_file)
        # the curve is rounded, and would take the first of two epochs that differ by less
        chosen = curve.epochs[kept["epoch"]]
        module.load_state_dict(kept["state_dict"])
    elif curve.started is None:
        # it was cut off after its last epoch, so callbacks that average weights have not handed
        # them over, as they do when a run ends; the checkpoint has them in the place of the others
        module.load_state_dict(read_checkpoint(last_file)["state_dict"])
    model.reducer.leave(stage, {k.removeprefix("dev/"): v for k, v in chosen.items()})
    wait()  # until all have read the best weights
    if is_first():
        model.save_pretrained(folder / "model")
    scores = {file.stem: cost_of(file) for file in sorted(asked)}
    costs = [(curve.flops, curve.seconds), *scores.values()]
    flops, seconds = sum(cost[0] for cost in costs), sum(cost[1] for cost in costs)
    done = finish(
        TrainedStage(
            name=stage.name,
            epochs=len(curve.epochs),
            folder=folder,
            seconds=seconds,
            flops=flops,
            curve=curve.epochs,
            chosen=chosen,
            scores={name: cost[0] for name, cost in scores.items()},
            code=code,
        )
    )
    if is_first():
        for checkpoint in (best_file, last_file):
            sums.remove(checkpoint)
    return done


def _context(
    recipe: Recipe, stage: Stage, tuned: TrainedStage | None, trainer: Trainer, asked: set[Path]
) -> StageContext:
    """What a stage may ask about the data and about the shared fine-tuning before it.

    The files of the scores that it asks for are noted in ``asked``, so that their cost can be
    charged to it.
    """
    data = recipe.data
    split = data.splits["train"]
    lengths = torch.tensor(split.lengths)
    place = Place(processes=trainer.world_size)  # all take as many steps
    batches = len(data.train_batches(recipe.seed, 0, place))
    steps = limited(trainer, batches) * stage.epochs
    task = data.make_task(recipe.module.metric)
    ends = (min(split.labels), max(split.labels)) if task.head.output == "number" else (0.0, 1.0)
    if tuned is None:
        return StageContext(lengths, steps, answer_range=ends)
    start, device = tuned, trainer.strategy.root_device
    scores = [metrics["dev/score"] for metrics in start.curve]
    reached = max(scores, default=start.chosen["dev/score"])

    def find(score: Score, name: str) -> list[Tensor]:
        order = sorted(range(len(scores)), key=lambda epoch: -scores[epoch])
        weights = [_EveryEpoch.weights(start.folder, epoch + 1) for epoch in order[:BEST_EPOCHS]]
        file = start.folder / f"{name}.safetensors"
        asked.add(file)
        return over_training_rows(
            score, start.model, weights or [None], data, file, device, recipe.done
        )

    return StageContext(
        lengths,
        steps,
        reached,
        lambda: find(partial(batch_saliency, gold=task.gold), "saliency"),
        ends,
        lambda: find(batch_attention, "attention"),
        lambda: backbones.pretrained_pooler(recipe.module.backbone, recipe.module.random_init),
    )


class _EveryEpoch(Callback):
    """Keep the weights of each epoch of the fine-tuning, which saliencies are averaged over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def weights(folder: Path, epoch: int) -> Path:
        return folder / f"epoch{epoch}.safetensors"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TokenDropModule)
        if not is_first():
            return
        file = self.weights(self.folder, trainer.current_epoch + 1)
        save_tensors(pl_module.model.backbone.state_dict(), file)
