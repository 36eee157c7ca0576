"""Trainers that users make themselves, as docs/your_data.md says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
)

from tests.training.test_recipes import FINE_TUNE, StopIn
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.reducers.base import Stage
from tokendrop.reducers.dense import Dense
from tokendrop.training import recipes
from tokendrop.training.module import TokenDropModule


def trained(backbone: str, data: TextData, root: str | Path, *own: Callback, **options: Any) -> Any:
    """A fine-tuning by a trainer that says what the guide's says, and these options."""

    def make(stage: Stage, callbacks: list[Callback]) -> Trainer:
        said = {
            "max_epochs": stage.epochs,
            "callbacks": [*callbacks, *own],
            "logger": False,
            "enable_progress_bar": False,
        }
        return Trainer(**(recipes.TRAINER_DEFAULTS | said | options))

    module = TokenDropModule(Dense(), backbone, fine_tune=FINE_TUNE)
    return recipes.train(module, data, 1, root, make)


class Orders(Callback):
    """Note which rows each batch of each epoch holds."""

    def __init__(self) -> None:
        self.seen: dict[int, list[tuple[int, ...]]] = {}

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, *_: object
    ) -> None:
        self.seen.setdefault(trainer.current_epoch, []).append(batch.numbers)


def test_each_epoch_has_its_own_order_also_where_it_goes_on(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    whole, resumed = Orders(), Orders()
    trained(backbone, data, tmp_path / "whole", whole)
    assert len({tuple(batches) for batches in whole.seen.values()}) == FINE_TUNE.epochs
    with pytest.raises((ConnectionAbortedError, UserError)):
        trained(backbone, data, tmp_path / "cut", StopIn("fine_tune", 1))
    trained(backbone, data, tmp_path / "cut", resumed)
    assert resumed.seen == {epoch: whole.seen[epoch] for epoch in (1, 2)}


def test_a_look_at_the_dev_split_beforehand_is_no_training(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    [plain] = trained(backbone, data, tmp_path / "plain")
    [looked] = trained(backbone, data, tmp_path / "looked", num_sanity_val_steps=2)
    assert looked.flops == plain.flops


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_epochs", FINE_TUNE.epochs + 1),
        ("max_steps", 3),
        ("limit_train_batches", 0),
        ("limit_val_batches", 0),
        ("check_val_every_n_epoch", 2),
        ("val_check_interval", 0.5),
        ("fast_dev_run", True),
        ("precision", "bf16-true"),
        ("accumulate_grad_batches", 3),
        ("gradient_clip_val", 0.5),
        ("callbacks", []),
    ],
)
def test_what_would_spoil_a_stage_is_named_before_it_trains(
    backbone: str, data: TextData, tmp_path: Path, option: str, value: object
) -> None:
    orders = Orders()
    own = [] if option == "callbacks" else [orders]
    with pytest.raises(UserError, match=option):
        trained(backbone, data, tmp_path, *own, **{option: value})
    assert not orders.seen


@pytest.mark.parametrize(
    "own",
    [
        LearningRateFinder(),
        BatchSizeFinder(),
        BackboneFinetuning(),
        GradientAccumulationScheduler({1: 4}),
        StochasticWeightAveraging(1e-3, swa_epoch_start=2),
    ],
)
def test_so_is_a_callback_that_does_not_go_with_a_recipe(
    backbone: str, data: TextData, tmp_path: Path, own: Callback
) -> None:
    orders = Orders()
    with pytest.raises(UserError, match=f"the trainer's {type(own).__name__} cannot be used"):
        trained(backbone, data, tmp_path, orders, own)
    assert not orders.seen


def test_so_is_what_would_spoil_an_evaluation(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    [stage] = trained(backbone, data, tmp_path / "fine_tuned")

    def make(stage: Stage, callbacks: list[Callback]) -> Trainer:
        return Trainer(callbacks=callbacks, logger=False, precision="bf16-true")

    module = TokenDropModule(Dense(), str(stage.model), fine_tune=None)
    with pytest.raises(UserError, match="precision"):
        recipes.train(module, data, 1, tmp_path / "as_given", make)


def test_callbacks_of_the_users_may_end_a_stage_and_keep_its_epochs(
    backbone: str, data: TextData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    never_better = EarlyStopping("dev/score", mode="max", patience=1, min_delta=2)
    own = ModelCheckpoint(tmp_path / "own", "mine")
    with caplog.at_level(logging.WARNING):
        [stage] = trained(backbone, data, tmp_path, never_better, own)
    assert len(stage.curve) == 2
    assert (tmp_path / "own/mine.ckpt").is_file()
    assert "fine_tune ended after epoch 2 of 3" in caplog.messages


class StopWithin(Callback):
    """End the training after the second batch of its second epoch, as a clock may."""

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        trainer.should_stop = (trainer.current_epoch, index) == (1, 1)


def test_but_no_epoch_of_it_is_taken_for_whole_that_is_not(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    [whole] = trained(backbone, data, tmp_path / "whole")
    with pytest.raises(UserError, match="fine_tune was ended within epoch 2, which is lost"):
        trained(backbone, data, tmp_path / "cut", StopWithin())
    [resumed] = trained(backbone, data, tmp_path / "cut")
    assert resumed.curve == whole.curve


def test_a_stage_without_any_epoch_is_no_result(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="fine_tune was ended before its first epoch"):
        trained(backbone, data, tmp_path, max_time="00:00:00:00")
    [stage] = trained(backbone, data, tmp_path)
    assert len(stage.curve) == FINE_TUNE.epochs


@pytest.mark.parametrize("act", ["fit", "validate", "test"])
def test_a_trainer_is_not_given_a_module_without_a_model(
    backbone: str, data: TextData, tmp_path: Path, act: str
) -> None:
    trainer = Trainer(default_root_dir=tmp_path, logger=False, enable_checkpointing=False)
    with pytest.raises(UserError, match=r"recipes\.train"):
        getattr(trainer, act)(TokenDropModule(Dense(), backbone), data)


def test_what_python_gives_is_checked_as_on_the_command_line(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="seed '1' cannot be used"):
        recipes.train(TokenDropModule(Dense(), backbone), data, "1", tmp_path, Trainer)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"backbone 7 cannot be used: use a text"):
        TokenDropModule(Dense(), 7)  # type: ignore[arg-type]
    assert TokenDropModule(Dense(), Path(backbone)).backbone == backbone  # type: ignore[arg-type]
    [stage] = trained(backbone, data, str(tmp_path))
    assert stage.folder.parent == tmp_path
