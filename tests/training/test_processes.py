"""One training on two processes: the same weights in both, and what one process finds alone."""

from __future__ import annotations

import json
import os
import signal
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
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import tiny_model
from tokendrop.training import recipes
from tokendrop.training.finished import TrainedStage
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
    found = {}
    for name, make in METHODS.items():
        weights = Weights()
        stages = train(make(), folder, processes, folder / f"of_{processes}", weights)
        numbers = [stage.chosen for stage in stages]
        found[name] = {"weights": weights.found, "chosen": numbers}
    (folder / f"{processes}_{rank}.json").write_text(json.dumps(found))


def train(
    reducer: Reducer,
    folder: Path,
    processes: int,
    out: Path,
    callback: Callback,
    metric: str = "accuracy",
    **settings: Any,
) -> list[TrainedStage]:
    """Train a method on the rows of a folder."""
    rows = {"train": "rows.csv", "dev": "dev.csv", "test": "dev.csv"}
    settings = settings or rows | {"max_length": 24, "class_weights": "balanced"}
    files = {name: str(folder / settings.pop(name)) for name in rows}
    data = TextData(
        **files, **settings, tokenizer=str(folder / "backbone"), batch_size=4 // processes
    )
    several: dict[str, Any] = {}
    if processes > 1:
        several = {"devices": processes, "use_distributed_sampler": False}

    def trainer(stage: Stage, callbacks: list[Callback]) -> Trainer:
        return Trainer(
            **TRAINER_DEFAULTS | several,
            strategy=Processes() if several else "auto",
            accelerator="cpu",
            max_epochs=stage.epochs,
            logger=False,
            enable_progress_bar=False,
            callbacks=[*callbacks, callback],
            reload_dataloaders_every_n_epochs=1,
        )

    module = TokenDropModule(reducer, str(folder / "backbone"), metric, fine_tune=FINE_TUNE)
    return recipes.train(module, data, 1, out, trainer)


def _one_of_two(local_rank: int, train: Callable[..., None], port: int, *more: Any) -> None:
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ.update(where, NODE_RANK="0", LOCAL_RANK=str(local_rank))
    torch.set_num_threads(1)
    train(*more, local_rank)


def on_two(train: Callable[..., None], *more: Any) -> None:
    """Call this in two processes, with the rank of each as the last argument."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.start_processes(
        _one_of_two, (train, port, *more), nprocs=2, start_method="fork"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny backbone, training rows and dev rows."""
    folder = tmp_path_factory.mktemp("processes")
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny_model("bert", **dropout).base_model.save_pretrained(folder / "backbone")
    tokenizer().save_pretrained(folder / "backbone")
    # 23 rows in batches of 4: the last one is shared as 2 and 1; so is the dev split
    good = [f"we laughed a lot {'!' * n},good" for n in range(1, 15)]
    bad = [f"the plot is thin {'but ' * n},bad" for n in range(1, 10)]
    (folder / "rows.csv").write_text("\n".join(["text,label", *good, *bad]))
    (folder / "dev.csv").write_text("\n".join(["text,label", *good[:9:2], *bad[:7:2]]))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> tuple[Any, Any, Any]:
    """What one process found of each method, and each of two."""
    on_two(train_all, folder, 2)
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
        # what merging compares is counted by the width of batches, which are smaller here
        assert theirs == pytest.approx(alone, rel=2e-3)


QUESTIONS = {"task": "question_answering", "max_length": 16, "doc_stride": 3} | {
    "train": "asked.json", "dev": "asked_dev.json", "test": "asked_dev.json"
}  # fmt: skip


def answer_all(folder: Path, processes: int, rank: int = 0) -> None:
    """Train on questions, and write what this process says of the dev split."""
    out = folder / f"answering_{processes}"
    stages = train(Dense(), folder, processes, out, Weights(), "f1", **QUESTIONS)
    (folder / f"answers_{processes}_{rank}.json").write_text(json.dumps(stages[0].chosen))


def test_windows_of_a_question_are_joined_from_all_processes(folder: Path) -> None:
    for file, marks in (("asked", 0), ("asked_dev", 20)):
        # of one window to several, which the processes share; one of them alone has the answer
        contexts = [
            "the plot is thin but we laughed a lot " * (n % 4) + "!" * (n + marks + 1)
            for n in range(9)
        ]
        asked = [
            {
                "context": f"plot {context}",
                "qas": [
                    {
                        "id": str(number),
                        "question": "we laughed",
                        "answers": [{"text": "plot", "answer_start": 0}],
                    }
                ],
            }
            for number, context in enumerate(contexts)
        ]
        data = {"data": [{"title": "film", "paragraphs": asked}]}
        (folder / f"{file}.json").write_text(json.dumps(data))
    on_two(answer_all, folder, 2)
    answer_all(folder, 1)
    one, *two = (
        json.loads((folder / f"answers_{name}.json").read_text()) for name in ("1_0", "2_0", "2_1")
    )
    assert 0 < one["dev/f1"] <= 1
    for found in two:
        for name in ("dev/f1", "dev/exact_match", "dev/score"):
            assert found[name] == pytest.approx(one[name], abs=1e-6)


class Kill(Callback):
    """Kills its process in the second epoch of a stage."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == 1 and batch_idx == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def train_long(folder: Path, out: Path, killed: bool, rank: int) -> None:
    """Two epochs of a method that draws a sub-model a step; write the weights they end with."""
    weights = Weights()
    reducer = LengthAdaptive(epochs=2, layer_drop=0.5)
    train(reducer, folder, 2, out, Kill() if killed else weights)
    (out / f"{rank}.json").write_text(json.dumps(weights.found[-1]))


def test_killed_in_both_processes_it_goes_on_as_if_it_had_not_been(folder: Path) -> None:
    whole, out = folder / "whole", folder / "killed"
    on_two(train_long, folder, whole, False)
    with pytest.raises(multiprocessing.ProcessExitedException):
        on_two(train_long, folder, out, True)
    on_two(train_long, folder, out, False)
    expected = (whole / "0.json").read_text()
    assert [(out / f"{rank}.json").read_text() for rank in (0, 1)] == [expected] * 2


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
