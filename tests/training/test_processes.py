"""One training on two processes: the same weights in both, and what one process finds alone."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch import multiprocessing

from tests.contract.test_contract import _all_reducers
from tests.models.test_model import tokenizer
from tokendrop.data import TextData
from tokendrop.data.batching import Place, consecutive, shuffled_by_length
from tokendrop.errors import UserError
from tokendrop.reducers.base import Reducer, Stage
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import tiny_model
from tokendrop.training import recipes
from tokendrop.training.module import TokenDropModule
from tokendrop.training.processes import Processes, meet
from tokendrop.training.recipes import TRAINER_DEFAULTS

FINE_TUNE = Stage("fine_tune", 1, 1e-3, weight_decay=0.01, warmup=0.1, clip=1.0)


def _short(kind: type[Reducer]) -> Reducer:
    epochs = [name for name in kind.argument_defaults() if name.endswith("epochs")]
    return kind(**dict.fromkeys(epochs, 1))


METHODS: dict[str, Callable[[], Reducer]] = {
    name: (lambda kind=kind: _short(kind)) for name, kind in _all_reducers().items()
} | {
    "Chain": lambda: Chain([_short(PowerBert), _short(DactBert)]),
    "LayerDrop": lambda: LengthAdaptive(epochs=1, layer_drop=0.5),
}


class Weights(Callback):
    """Remembers a number for the trained weights of each stage before the best are taken."""

    def __init__(self) -> None:
        self.found: list[list[float]] = []

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.found.append([float(p.detach().double().sum()) for p in pl_module.parameters()])


def train_all(folder: Path, processes: int, rank: int = 0) -> None:
    """Train every method, and write what this process ended with."""
    data = TextData(
        train=str(folder / "rows.csv"),
        dev=str(folder / "dev.csv"),
        test=str(folder / "dev.csv"),
        tokenizer=str(folder / "backbone"),
        max_length=24,
        batch_size=4 // processes,
        class_weights="balanced",
    )
    several: dict[str, Any] = {}
    if processes > 1:
        several = {"devices": processes, "use_distributed_sampler": False}
    found = {}
    for name, make in METHODS.items():
        weights = Weights()

        def trainer(stage: Stage, callbacks: list[Callback], weights: Weights = weights) -> Trainer:
            return Trainer(
                **TRAINER_DEFAULTS | several,
                strategy=Processes() if several else "auto",
                accelerator="cpu",
                max_epochs=stage.epochs,
                logger=False,
                enable_progress_bar=False,
                callbacks=[*callbacks, weights],
                reload_dataloaders_every_n_epochs=1,
            )

        module = TokenDropModule(make(), str(folder / "backbone"), fine_tune=FINE_TUNE)
        stages = recipes.train(module, data, 1, folder / f"of_{processes}", trainer)
        numbers = [stage.chosen for stage in stages]
        found[name] = {"weights": weights.found, "chosen": numbers}
    (folder / f"{processes}_{rank}.json").write_text(json.dumps(found))


def _one_of_two(local_rank: int, folder: Path, port: int) -> None:
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update(where, NODE_RANK="0", LOCAL_RANK=str(local_rank))
    torch.set_num_threads(1)
    train_all(folder, 2, local_rank)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Any]:
    """What one process found of each method, and each of two."""
    folder = tmp_path_factory.mktemp("processes")
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny_model("bert", **dropout).base_model.save_pretrained(folder / "backbone")
    tokenizer().save_pretrained(folder / "backbone")
    # 23 rows in batches of 4: the last one is shared as 2 and 1; so is the dev split
    good = [f"we laughed a lot {'!' * n},good" for n in range(1, 15)]
    bad = [f"the plot is thin {'but ' * n},bad" for n in range(1, 10)]
    (folder / "rows.csv").write_text("\n".join(["text,label", *good, *bad]))
    (folder / "dev.csv").write_text("\n".join(["text,label", *good[:9:2], *bad[:7:2]]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(_one_of_two, (folder, port), nprocs=2, start_method="fork")
    train_all(folder, 1)
    one, first, second = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("1_0", "2_0", "2_1")
    )
    return one, first, second


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_end_alike_and_as_one(method: str, found: tuple[Any, Any, Any]) -> None:
    one, first, second = (of[method] for of in found)
    assert first == second
    for theirs, alone in zip(first["weights"], one["weights"], strict=True):
        assert theirs == pytest.approx(alone, abs=1e-3)
    for theirs, alone in zip(first["chosen"], one["chosen"], strict=True):
        for of in (theirs, alone):
            del of["dev/loss"]  # a mean over batches, in each of which classes have their weights
        # what merging compares is counted by the width of batches, which are smaller here
        assert theirs == pytest.approx(alone, rel=2e-3)


def test_processes_share_the_batches_that_one_would_have() -> None:
    lengths = [1 + n * 7 % 13 for n in range(23)]
    for budget, rows in ((None, 4), (40, 2)):
        once = shuffled_by_length(lengths, 2 * rows, budget and 2 * budget, 5, 1)
        shares = [shuffled_by_length(lengths, rows, budget, 5, 1, Place(r, 2)) for r in (0, 1)]
        for whole, first, second in zip(once, *shares, strict=True):
            assert sorted(first + second) == sorted(whole)
            assert len(first) - len(second) in (0, 1)
    # a step with fewer rows than processes is taken by each as a whole
    assert [Place(rank, 3).of_step([7, 8]) for rank in range(3)] == [[7, 8]] * 3
    evaluated = [row for r in (0, 1) for batch in consecutive(9, 2, Place(r, 2)) for row in batch]
    assert sorted(evaluated) == list(range(9))


def test_a_trainer_that_would_wrap_the_model_is_refused() -> None:
    trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False)
    with pytest.raises(UserError, match=r"DDPStrategy .* 2 processes.*Processes\(\)"):
        meet(trainer)
