"""Weights & Biases without an account: what lies in an offline run is what a sync would send."""

from __future__ import annotations

import csv
import json
import struct
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pandas as pd
import pytest
import wandb
from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from wandb.proto import wandb_internal_pb2 as messages

from tests.cli.test_cli import SMALL, complaint, reviews  # noqa: F401
from tests.compare.grid.test_compare import SMOKE
from tests.training.test_recipes import FINE_TUNE, StopIn
from tokendrop.cli import main
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.reducers.base import Stage
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.training import recipes
from tokendrop.training.module import TokenDropModule
from tokendrop.training.tracking import Run, Tracker, log_comparison

METHOD = "{{reducer: baselines.Truncation, operating_points: {{{point}: {{tokens: 6}}}}}}"


RUN = Run("films", "exits", "default", 1)
ORDER = ["fine_tune", "joint"].index
BLOCK, HEADER, LAST = 32768, 7, (1, 4)  # of the log files that LevelDB and W&B write


def written(run: Path) -> list[Any]:
    """The messages of an offline run, in order, as a sync reads them."""
    wandb.teardown()  # waits for the service that writes the file
    content = next(run.glob("*.wandb")).read_bytes()
    found, held, place = [], b"", HEADER
    while place + HEADER <= len(content):
        if BLOCK - place % BLOCK < HEADER:
            place += BLOCK - place % BLOCK
            continue
        size, kind = struct.unpack_from("<HB", content, place + 4)
        held += content[place + HEADER : place + HEADER + size]
        place += HEADER + size
        if kind in LAST:
            message = messages.Record()
            message.ParseFromString(held)
            found.append(message)
            held = b""
    assert not held, "the run breaks off"
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The messages of a comparison's runs, by job type."""
    out = tmp_path_factory.mktemp("tracked")
    method = METHOD.format(point="long" * 20)
    words = ["--methods", f"{{dense: {{reducer: Dense}}, truncation: {method}}}"]
    words += ["--loggers", "[wandb_models]", "--floor", "false", "--samples", "2"]
    assert main(["compare", "--config", SMOKE, *words, "--out", str(out)]) == 0
    found = [written(run) for run in sorted((out / "wandb").glob("offline-run-*"))]
    return {next(m.run.job_type for m in run if m.HasField("run")): run for run in found}


def test_nothing_is_given_that_wandb_warns_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(wandb, "init", lambda **settings: given.update(settings))
    (logger,) = Tracker(["wandb"], tmp_path, Run("films", "dense", "default", 1)).loggers
    assert logger.experiment is None
    assert given["name"] == "dense-default-films-seed1"
    assert "anonymous" not in given


def test_a_fit_logs_what_a_sweep_follows(reviews: Path, tmp_path: Path) -> None:  # noqa: F811
    words = ["--data.train", str(reviews), "--loggers", "[wandb]", "--out", str(tmp_path)]
    assert main(["fit", *SMALL[:-2], *words]) == 0
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    found = written(run)
    logged = {item.key or "/".join(item.nested_key) for m in found for item in m.history.item}
    assert {"chosen/accuracy", "chosen/flops_speedup", "train_seconds"} <= logged
    defined = {m.metric.name: m.metric.summary for m in found if m.HasField("metric")}
    assert defined["chosen/accuracy"].max
    assert defined["chosen/kept_tokens"].min
    assert any(m.HasField("exit") for m in found)
    settings = {
        item.key or item.nested_key[0]
        for m in found
        for item in [*m.run.config.update, *m.config.update]
    }
    assert {"model", "data", "seed_everything"} <= settings


def test_each_run_is_whole_and_filed_under_task_and_method(runs: dict[str, list[Any]]) -> None:
    assert set(runs) == {"dense", "truncation", "comparison"}
    for kind, messages_ in runs.items():
        run = next(m.run for m in messages_ if m.HasField("run"))
        assert any(m.HasField("exit") for m in messages_)
        if kind == "comparison":
            assert list(run.tags) == ["rotten_tomatoes"]
            continue
        assert run.run_group == "rotten_tomatoes"
        assert {"rotten_tomatoes", kind, "seed1"} <= set(run.tags)
        assert all(len(tag) <= 64 for tag in run.tags)


def test_final_numbers_have_a_direction(runs: dict[str, list[Any]]) -> None:
    defined = {m.metric.name: m.metric.summary for m in runs["truncation"] if m.HasField("metric")}
    assert defined["value"].max
    assert defined["flops_speedup_unpadded"].max
    assert defined["train_seconds"].min
    assert defined["kept_tokens_mean"].min
    logged: dict[str, Any] = {}
    for message in runs["truncation"]:
        for item in message.history.item:
            logged[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
    assert logged["flops_speedup_unpadded"] > 1
    assert logged["tokens/_type"] == "table-file"
    assert {"dev/accuracy", "value"} <= set(logged)


def test_models_are_artefacts_where_asked_for(runs: dict[str, list[Any]]) -> None:
    for kind in ("dense", "truncation"):
        artifacts = [
            m.request.log_artifact.artifact if m.HasField("request") else m.artifact
            for m in runs[kind]
            if m.HasField("artifact") or m.request.HasField("log_artifact")
        ]
        (model,) = [artifact for artifact in artifacts if artifact.type == "model"]
        files = {entry.path for entry in model.manifest.contents}
        assert {"config.json", "model.safetensors", "README.md"} <= files


def test_the_comparison_shows_its_figures_and_the_tables_of_its_panels(
    runs: dict[str, list[Any]],
) -> None:
    kept = {
        item.key or item.nested_key[0]
        for message in runs["comparison"]
        for item in message.history.item
    }
    wanted = {"results", "trade_off_flops", "same_budget", "fronts", "kinds", "passes"}
    assert wanted <= kept, wanted - kept


def test_a_curve_goes_on_where_a_training_was_cut(
    backbone: str,
    data: TextData,
    tmp_path: Path,
) -> None:
    module = TokenDropModule(DactBert(epochs=2), backbone, fine_tune=FINE_TUNE)

    def curve(folder: str, *cuts: tuple[str, int]) -> list[dict[str, str]]:
        for cut in (*cuts, None):
            (logger,) = Tracker(["csv"], tmp_path / folder, RUN).loggers
            make = recipes.trainer_maker([logger], "t")

            def stopping(
                stage: Stage,
                callbacks: list[Callback],
                make: recipes.MakeTrainer = make,
                cut: tuple[str, int] | None = cut,
            ) -> Trainer:
                return make(stage, [*callbacks, *([StopIn(*cut)] if cut else [])])

            with pytest.raises((ConnectionAbortedError, UserError)) if cut else nullcontext():
                recipes.train(module, data, 1, tmp_path / folder, stopping)
            # a process that dies takes along what it had not yet written
            logger._experiment = None  # type: ignore[attr-defined]
        with (tmp_path / folder / "logs" / RUN.name / "metrics.csv").open() as lines:
            return list(csv.DictReader(lines))

    whole = curve("whole")
    assert [row["stage"] for row in whole] == sorted((row["stage"] for row in whole), key=ORDER)
    assert {row["stage"] for row in whole} == {"fine_tune", "joint"}
    cut = curve("cut", ("fine_tune", 1), ("joint", 0), ("joint", 1))
    assert cut == whole


def test_a_run_that_goes_on_has_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(wandb, "init", lambda **settings: given.append(settings))
    for seed in (1, 1, 2):
        (logger,) = Tracker(["wandb"], tmp_path, Run("films", "a/b", "default", seed)).loggers
        assert logger.experiment is None
    first, again, other = given
    assert first["id"] == again["id"] != other["id"]
    assert first["resume"] == "allow"


def test_a_comparison_that_goes_on_is_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    def init(**settings: Any) -> nullcontext[Any]:
        given.append(settings)
        return nullcontext(SimpleNamespace(log=lambda _: None))

    monkeypatch.setattr(wandb, "init", init)
    results = {"results": pd.DataFrame({"task": ["films"]})}
    for folder in ("one", "one", "other"):
        (tmp_path / folder).mkdir(exist_ok=True)
        log_comparison(tmp_path / folder, {}, results, {})
    first, again, other = given
    assert first["id"] == again["id"] != other["id"]
    assert first["resume"] == again["resume"] == "allow"


@pytest.mark.parametrize("error", [wandb.errors.UsageError, wandb.errors.CommError])
def test_a_run_that_cannot_be_begun_is_a_line_and_loses_nothing(
    error: type[Exception],
    reviews: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuses(**_: Any) -> None:
        raise error("no key here,\nnor a way out")

    words = ["fit", *SMALL, "--data.train", str(reviews), "--out", str(tmp_path)]
    with monkeypatch.context() as patched:
        patched.setattr(wandb, "init", refuses)
        said = complaint(capsys, *words, "--loggers", "[csv, wandb]")
        assert "(no key here, nor a way out): set WANDB_MODE=offline" in said
        results = {"results": pd.DataFrame({"task": ["films"]})}
        with pytest.raises(UserError, match="W&B cannot begin a run"):
            log_comparison(tmp_path, {}, results, {})
    assert main([*words, "--loggers", "[csv, wandb]"]) == 0


def test_disabled_wandb_writes_nothing(
    reviews: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    words = [
        "--data.train",
        str(reviews),
        "--loggers",
        "[csv, wandb]",
        "--out",
        str(tmp_path / "o"),
    ]
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *SMALL[:-2], *words]) == 0
    assert not list(tmp_path.rglob("wandb"))
    assert list(tmp_path.rglob("metrics.csv"))


class Remembered(Logger):
    """What a logger of somebody else's was told."""

    told: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def __init__(self, save_dir: str, run_name: str, mood: str = "plain") -> None:
        self.place, self.run_name, self.mood = save_dir, run_name, mood

    name = version = property(lambda self: self.run_name)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.told.append((f"{self.run_name} {self.mood}", dict(metrics)))

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass


def test_any_logger_may_stand_beside_ours(
    reviews: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = f"{__name__}.Remembered"
    named = f"{{class_path: {path}, init_args: {{mood: bright}}}}"
    words = ["--data.train", str(reviews), "--out", str(tmp_path)]
    Remembered.told.clear()
    assert main(["fit", *SMALL[:-2], *words, "--loggers", f"[csv, {named}]"]) == 0
    names, told = zip(*Remembered.told, strict=True)
    assert set(names) == {"Dense-fit-local-seed1 bright"}
    assert any("dev/accuracy" in metrics for metrics in told)
    assert "chosen/accuracy" in told[-1]
    for spec, said in (
        ("{class_path: nowhere.Logger}", "no class nowhere.Logger"),
        (f"{{class_path: {__name__}.Path}}", "is no logger"),
        (f"{{class_path: {path}, init_args: {{moods: 1}}}}", "unexpected keyword argument 'moods'"),
        ("{init_args: {}}", "is no logger: use csv"),
    ):
        assert said in complaint(capsys, "fit", *SMALL[:-2], *words, "--loggers", f"[{spec}]")
