"""Callbacks that a user's own trainer brings along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from tests.training.test_recipes import FINE_TUNE, StopIn, trained, weights
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.reducers.adapler import AdapLeR
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.training.module import TokenDropModule

Weights = dict[str, torch.Tensor]


class Losses(Callback):
    """Note the loss of every step, as callbacks that look for spikes do."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, *_: object
    ) -> None:
        self.seen.append((float(outputs["loss"]), float(trainer.callback_metrics["loss"])))


def test_averaged_weights_are_measured_and_kept(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    def module() -> TokenDropModule:
        return TokenDropModule(Dense(), backbone, fine_tune=FINE_TUNE)

    # from the first step on an average of this decay takes in nothing more
    still = EMAWeightAveraging(decay=1.0)
    [plain] = trained(module(), data, tmp_path / "plain")
    [stage] = trained(module(), data, tmp_path / "averaged", still)
    assert len({epoch["dev/loss"] for epoch in plain.curve}) == 3
    assert len({epoch["dev/loss"] for epoch in stage.curve}) == 1
    first, kept = weights(plain), weights(stage)
    assert first.keys() == kept.keys()
    assert any(not torch.equal(first[name], kept[name]) for name in first)


def test_a_users_own_checkpoints_are_whole(backbone: str, data: TextData, tmp_path: Path) -> None:
    own = ModelCheckpoint(tmp_path / "own", "best", monitor="dev/accuracy", mode="max")
    module = TokenDropModule(Dense(), backbone, fine_tune=FINE_TUNE)
    trained(module, data, tmp_path / "stages", own)
    kept = torch.load(tmp_path / "own" / "best.ckpt", weights_only=True)
    assert kept["optimizer_states"]
    assert kept["state_dict"]


class StopAtEnd(Callback):
    """Break off a stage when its last epoch is kept."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        if module.stage.name == self.stage:
            raise ConnectionAbortedError


def run(folder: Path, backbone: str, data: TextData, method: Reducer, *more: Callback) -> Weights:
    module = TokenDropModule(method, backbone, fine_tune=FINE_TUNE)
    return weights(trained(module, data, folder, EMAWeightAveraging(decay=0.5), *more)[-1])


# the search of PoWER-BERT ends with its last weights, whichever epoch was the best
@pytest.mark.parametrize(
    ("method", "cut"),
    [
        (Dense(), StopIn("fine_tune", 1)),
        (PowerBert(search_epochs=2, retrain_epochs=0), StopIn("search", 1)),
        (PowerBert(search_epochs=2, retrain_epochs=0), StopAtEnd("search")),
    ],
)
def test_a_cut_off_training_with_averaged_weights_ends_as_if_it_had_not_been(
    backbone: str, data: TextData, tmp_path: Path, method: Reducer, cut: Callback
) -> None:
    whole = run(tmp_path / "whole", backbone, data, method)
    with pytest.raises((ConnectionAbortedError, UserError)):
        run(tmp_path / "cut", backbone, data, method, cut)
    again = run(tmp_path / "cut", backbone, data, method)
    for name, weight in whole.items():
        assert torch.equal(weight, again[name])


def test_callbacks_are_given_the_loss_of_a_step(
    backbone: str, data: TextData, tmp_path: Path
) -> None:
    losses = Losses()
    method = AdapLeR(init="finetuned", epochs=1)
    trained(TokenDropModule(method, backbone, fine_tune=FINE_TUNE), data, tmp_path, losses)
    assert len(losses.seen) == 4 * len(data.train_batches(1, 0))
    for given, logged in losses.seen:
        assert given == pytest.approx(logged)
