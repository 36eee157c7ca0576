"""Options of the trainer: each works, is part of a stage's key, or is refused by name."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.plugins import Precision

from tests.cli.test_cli import SMALL, complaint, reviews
from tests.training.test_recipes import FINE_TUNE, trained
from tokendrop.cli import main
from tokendrop.data import TextData
from tokendrop.models.fingerprint import backbone_fingerprint
from tokendrop.reducers.dense import Dense
from tokendrop.training.module import TokenDropModule
from tokendrop.training.trainer_options import FIT, decisive

__all__ = ["reviews"]

# every other option, by what it is for
IN_KEY = {"accelerator", "overfit_batches", "limit_train_batches", "limit_val_batches"}
IN_KEY |= {"precision", "plugins", "deterministic"}
HARMLESS = {
    *("devices", "num_nodes"),  # the number of processes is in the key
    *("limit_predict_batches", "limit_test_batches"),
    *("log_every_n_steps", "enable_progress_bar", "enable_model_summary", "profiler"),
    *("default_root_dir", "enable_autolog_hparams", "detect_anomaly", "inference_mode"),
    *("benchmark", "use_distributed_sampler", "sync_batchnorm"),
}


def fit(reviews: Path, out: Path, *words: str) -> int:
    return main(["fit", *SMALL, "--data.train", str(reviews), "--out", str(out), *words])


def tuned(out: Path) -> set[str]:
    return {path.name for path in out.glob("stages/fine_tune-*")}


def test_every_option_of_lightning_is_known_to_us() -> None:
    options = set(inspect.signature(Trainer).parameters)
    assert options == IN_KEY | HARMLESS | set(FIT)


TINY = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2}


@pytest.mark.parametrize(
    ("named", "random_init"), [(True, TINY | {"intermediate_size": 32}), (False, None)]
)
def test_the_key_of_a_usual_training_is_that_of_earlier_versions(
    backbone: str, tmp_path: Path, named: bool, random_init: dict[str, int] | None
) -> None:
    name = "minilm-l6" if named else backbone
    rows = [f"we laughed{'!' * n},good\na thin plot{'!' * n},bad" for n in range(14)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]))
    file = str(tmp_path / "rows.csv")
    data = TextData(train=file, tokenizer=name, max_length=24, batch_size=4)
    module = TokenDropModule(Dense(), name, fine_tune=FINE_TUNE, random_init=random_init)
    (stage,) = trained(module, data, tmp_path)
    start = {
        "backbone": name,
        "random_init": random_init,
        "data": data.fingerprint(),
        "metric": "accuracy",
        "precision": "32-true",
        "seed": 1,
    }
    if not named:  # since a folder is known by its weights
        start["weights"] = backbone_fingerprint(backbone)
    described = {"after": start, "stage": asdict(FINE_TUNE), "reducer": Dense().spec()}
    key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    assert stage.folder.name == f"fine_tune-{key}"


def test_a_training_that_was_cut_short_is_not_taken_for_the_whole_one(
    reviews: Path, tmp_path: Path
) -> None:
    assert fit(reviews, tmp_path, "--trainer.limit_train_batches", "1") == 0
    short = tuned(tmp_path)
    assert fit(reviews, tmp_path) == 0
    (whole,) = tuned(tmp_path) - short
    # harmless options, and the usual ones in other words, are the same training
    same = ["--trainer.precision", "32", "--trainer.logger", "null", "--trainer.devices", "auto"]
    same += ["--trainer.enable_progress_bar", "false", "--trainer.limit_val_batches", "1.0"]
    assert fit(reviews, tmp_path, *same) == 0
    assert tuned(tmp_path) == {*short, whole}


def test_what_decides_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rounded(Precision):
        def __init__(self, digits: int) -> None:
            self.digits = digits

    def of(**options: object) -> str:
        settings = {"accelerator": "cpu", "logger": False} | options
        return json.dumps(decisive(Trainer(**settings)))  # type: ignore[arg-type]

    usual = of()
    assert json.loads(usual) == {"precision": "32-true"}
    others = [
        of(precision="bf16-mixed"),
        of(limit_train_batches=1),
        of(limit_train_batches=0.5),
        of(limit_val_batches=1),
        of(overfit_batches=2),
        of(plugins=[Rounded(2)]),
        of(plugins=[Rounded(3)]),
    ]
    assert len({usual, *others}) == 1 + len(others)
    assert of(limit_train_batches=1.0, limit_test_batches=1, sync_batchnorm=True) == usual
    before = torch.are_deterministic_algorithms_enabled()
    try:
        assert of(deterministic=True) not in (usual, *others)
    finally:
        torch.use_deterministic_algorithms(before)
    trainer = Trainer(accelerator="cpu", logger=False)
    monkeypatch.setattr(trainer.strategy, "_root_device", torch.device("cuda", 1))
    assert decisive(trainer)["trainer"] == {"device": "cuda"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trainer.callbacks+=lightning.pytorch.callbacks.Timer"], ["callbacks", "Timer"]),
        (["--trainer.logger", "true"], ["logger", "--loggers"]),
        (["--trainer.max_epochs", "2"], ["max_epochs 2", "model.fine_tune.epochs"]),
        (["--trainer.min_epochs", "2"], ["min_epochs 2", "model.fine_tune.epochs"]),
        (["--trainer", "{max_steps: 9}"], ["max_steps 9", "model.fine_tune.epochs"]),
        (["--trainer.min_steps", "9"], ["min_steps 9"]),
        (["--trainer.max_time", "00:00:01:00"], ["max_time 00:00:01:00"]),
        (["--trainer.fast_dev_run", "true"], ["fast_dev_run true", "limit_train_batches 1"]),
        (["--trainer.accumulate_grad_batches", "2"], ["data.batch_size"]),
        (["--trainer.gradient_clip_val", "1.0"], ["gradient_clip_val", "fine_tune.clip"]),
        (["--trainer.gradient_clip_algorithm", "norm"], ["fine_tune.clip"]),
        (["--trainer.enable_checkpointing", "false"], ["enable_checkpointing false"]),
        (["--trainer.barebones", "true"], ["barebones true"]),
        (["--trainer.strategy", "fsdp"], ["strategy fsdp", "trainer.strategy ddp"]),
        (["--trainer.strategy", "ddp_spawn"], ["strategy ddp_spawn", "trainer.strategy ddp"]),
        (["--trainer.val_check_interval", "1"], ["val_check_interval 1"]),
        (["--trainer.check_val_every_n_epoch", "2"], ["check_val_every_n_epoch 2"]),
        (["--trainer.reload_dataloaders_every_n_epochs", "2"], ["reload_dataloaders"]),
        (["--trainer.num_sanity_val_steps", "2"], ["num_sanity_val_steps 2"]),
        (["--trainer.model_registry", "me/x"], ["model_registry me/x", "wandb_models"]),
        (["--trainer.limit_train_batches", "0"], ["limit_train_batches 0"]),
        (["--trainer.limit_val_batches", "0.0"], ["limit_val_batches 0.0"]),
        (["--trainer.precision", "64-true"], ["precision 64-true", "bf16-mixed"]),
        # what only Lightning knows
        (["--trainer.accelerator", "gpu"], ["accelerator gpu", "No supported gpu"]),
        (["--trainer.profiler", "tidy"], ["profiler tidy", "simple"]),
        (["--trainer.limit_val_batches", "-1"], ["limit_val_batches -1"]),
        (["--trainer.limit_val_batches", "0.0001"], ["Please increase the `limit_val_batches`"]),
        (
            [
                "--trainer.plugins=lightning.pytorch.plugins.HalfPrecision",
                "--trainer.plugins.precision=bf16-true",
            ],
            ["plugins", "bf16-true"],
        ),
    ],
)
def test_what_cannot_work_is_refused_by_name(
    words: list[str],
    said: list[str],
    reviews: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    out = tmp_path / "out"
    base = ["fit", *SMALL, "--data.train", str(reviews), "--out", str(out)]
    line = complaint(capsys, *base, *words)
    assert all(part in line for part in said), line
    assert not list(out.glob("stages/*/done.json"))


def test_a_file_is_checked_like_the_command_line(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trainer.yaml"
    file.write_text("trainer:\n  max_epochs: 7\n")
    words = [*SMALL, "--config", str(file), "--data.train", str(reviews), "--out", str(tmp_path)]
    assert "trainer.max_epochs 7 cannot be used" in complaint(capsys, "fit", *words)


def test_the_card_tells_no_figures_of_a_part_of_a_split(
    reviews: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert fit(reviews, tmp_path, "--trainer.limit_val_batches", "1", "--data.batch_size", "2") == 0
    model = tmp_path / "model"
    card = model / "README.md"
    assert "limit_val_batches 1" in caplog.text
    assert "of the dev split" not in card.read_text()
    words = ["test", "--checkpoint", str(model)]
    assert main([*words, "--trainer.limit_test_batches", "1"]) == 0
    assert "limit_test_batches 1" in caplog.text
    assert "of the test split" not in card.read_text()
    assert main(words) == 0
    assert "of the test split" in card.read_text()


def test_evaluations_refuse_what_has_no_part_in_them(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # what the training was limited by does no harm later
    assert fit(reviews, tmp_path, "--trainer.limit_train_batches", "1") == 0
    model = ["--checkpoint", str(tmp_path / "model")]
    for command, option, value in (
        ("test", "max_epochs", "3"),
        ("test", "limit_val_batches", "1"),
        ("validate", "limit_test_batches", "1"),
        ("validate", "limit_train_batches", "2"),
        ("search", "accelerator", "cpu"),
    ):
        line = complaint(capsys, command, *model, f"--trainer.{option}", value)
        assert f"trainer.{option} has no part" in line
    # another method's figures would be taken for what they are not
    others = (["--out", "elsewhere"], ["--loggers=[csv]"])
    for words in (["--model.reducer", "PowerBert"], ["--model.backbone=x"], *others):
        for command in ("test", "validate"):
            line = complaint(capsys, command, *model, *words)
            assert f"{words[0].partition('=')[0]} has no part" in line
    line = complaint(capsys, "test", *model, "--model.reducer.init_args.tau", "0.1")
    assert "tokendrop.load(FOLDER, tau=...)" in line
    for option, value in (
        ("fast_dev_run", "true"),
        ("barebones", "true"),
        ("devices", "2"),
        ("precision", "16-true"),
        ("limit_test_batches", "0"),
        ("limit_test_batches", "0.0001"),
    ):
        line = complaint(capsys, "test", *model, f"--trainer.{option}", value)
        assert option in line
    assert main(["validate", *model]) == 0
