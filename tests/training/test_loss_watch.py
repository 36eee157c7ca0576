"""Losses that reach the host late still stop the training, with the step they belong to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tokendrop.errors import Diverged
from tokendrop.training import loss_watch
from tokendrop.training.loss_watch import LossWatch, check_weights
from tokendrop.training.progress import StageBar


class LateDevice:
    """A device from which nothing arrives before it is waited for."""

    def __init__(self) -> None:
        self.waited = 0

    def on_host(self, values: Tensor) -> tuple[Tensor, Any]:
        def arrived(wait: bool) -> bool:
            self.waited += wait
            return wait

        return values, arrived


def test_a_late_loss_names_its_own_step(monkeypatch: pytest.MonkeyPatch) -> None:
    device, watch = LateDevice(), LossWatch("joint")
    monkeypatch.setattr(loss_watch, "_on_host", device.on_host)
    for step, loss in enumerate([0.5, torch.inf, 0.5]):
        watch.note(["task", "ponder"], torch.tensor([loss, 0.25]), step, epoch=2)
    assert not device.waited
    with pytest.raises(Diverged, match=r"step 2 of epoch 3 \(task inf, ponder 0.25\).*'joint'"):
        watch.check()


def test_what_has_arrived_stops_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = LossWatch("joint")
    with monkeypatch.context() as late:
        late.setattr(loss_watch, "_on_host", lambda values: (values, lambda wait: bool(ready)))
        ready: list[int] = []
        watch.note(["task"], torch.tensor([torch.nan]), 6, 0)
        ready.append(1)
        with pytest.raises(Diverged, match="step 7 of epoch 1"):
            watch.note(["task"], torch.tensor([0.5]), 7, 0)


def test_weights_that_are_no_numbers_are_named() -> None:
    weights = {"a": torch.ones(3), "none": torch.ones(0), "b": torch.full((2, 2), 1e30)}
    check_weights(weights, "step 1", "joint")  # whose norm is too large for a number
    for odd in (torch.nan, torch.inf, -torch.inf):
        with pytest.raises(Diverged, match="weight b is not a number after step 2 of epoch 1: "):
            check_weights(weights | {"b": torch.tensor([1.0, odd])}, "step 2 of epoch 1", "joint")


def test_the_bar_shows_the_loss() -> None:
    trainer: Any = SimpleNamespace(
        loggers=[], progress_bar_metrics={}, callback_metrics={"loss": torch.tensor(0.25)}
    )
    assert StageBar("dense").get_metrics(trainer, trainer) == {"loss": 0.25}


def test_a_term_of_the_method_alone_that_is_no_number_is_told_as_its_own() -> None:
    own = r"keep logarithms, roots and divisors of the others away from 0, or lower the learning"
    with pytest.raises(Diverged, match=rf"\(train/task 0.5, train/mine nan\): {own}"):
        LossWatch("mine").note(["train/task", "train/mine"], torch.tensor([0.5, torch.nan]), 0, 0)
    with pytest.raises(Diverged, match=r"\(train/task nan, train/mine nan\): lower the learning"):
        LossWatch("mine").note(["train/task", "train/mine"], torch.tensor([torch.nan] * 2), 0, 0)
