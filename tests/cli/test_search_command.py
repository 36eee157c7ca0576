"""`tokendrop search` on a model of `tokendrop fit`, and searched points in a comparison."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

import tokendrop
from tests.cli.test_cli import SMALL, complaint, reviews
from tokendrop.cli import main
from tokendrop.compare.results.records import read_records
from tokendrop.configs import config_folder

__all__ = ["reviews"]

QUICK = ["--generations", "2", "--population", "3", "--mutations", "3", "--crossovers", "3"]


@pytest.fixture(scope="module")
def fitted(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of `tokendrop fit` with LengthAdaptive."""
    out = tmp_path_factory.mktemp("fit")
    reducer = ["--model.reducer", "LengthAdaptive", "--model.reducer.length_basis", "row"]
    words = [*SMALL, *reducer, "--model.reducer.epochs", "1", "--data.train", str(reviews)]
    assert main(["fit", *words, "--out", str(out)]) == 0
    return out / "model"


def test_the_search_needs_only_the_model_folder(
    fitted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "--checkpoint", str(fitted), "--budget", "0.9", "1.0", *QUICK]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "90%" in shown
    assert "front.png" in shown
    front = json.loads((fitted / "search" / "front.json").read_text())
    (best,) = {max(point["score"] for point in front["front"])}
    assert f"{best:.4f}" in shown
    # what it says to do is done as it stands
    (use,) = re.findall(r"^to use one: (tokendrop\.load\(.*\))$", shown, re.MULTILINE)
    lengths = eval(use, {"tokendrop": tokendrop}).reducer.describe()["configuration"]
    assert lengths in [point["configuration"] for point in front["front"]]
    # it goes on in its own folder
    assert main(words) == 0


@pytest.mark.parametrize("name", ["front.json", "front.png"])
def test_a_file_of_somebody_else_is_not_written_over(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_text("mine")
    words = ["search", "--checkpoint", str(fitted), *QUICK, "--out", str(tmp_path)]
    assert f"{tmp_path} has {name} of something else and no search" in complaint(capsys, *words)
    assert (tmp_path / name).read_text() == "mine"


def test_mistakes_are_named(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ("search", "--checkpoint")
    assert "no share" in complaint(capsys, *search, str(fitted), "--budget", "2", *QUICK)
    assert "out of reach" in complaint(capsys, *search, str(fitted), "--budget", "0.1", *QUICK)
    assert "too small" in complaint(capsys, *search, str(fitted), "--rows", "0")
    assert "config.json" in complaint(capsys, *search, str(tmp_path))
    shutil.copytree(fitted, tmp_path / "bare")
    (tmp_path / "bare" / "reducer" / "training.yaml").unlink()
    assert "which data" in complaint(capsys, *search, str(tmp_path / "bare"))


def test_a_comparison_takes_points_from_a_search(tmp_path: Path) -> None:
    smoke = yaml.safe_load((config_folder() / "compare" / "smoke.yaml").read_text())
    method = {
        "reducer": "LengthAdaptive",
        "arguments": {"learning_rate": 1e-3, "epochs": 1, "length_basis": "row"},
        "operating_points": {"full": {}},
        "search": {
            "budgets": {"mild": 0.95, "strong": 0.85},
            "settings": {"generations": 1, "population": 3, "mutations": 3, "crossovers": 3},
        },
    }
    file = tmp_path / "searched.yaml"
    file.write_text(yaml.safe_dump(smoke | {"methods": {"lat": method}, "loggers": ["csv"]}))
    out = tmp_path / "out"
    assert main(["compare", "--config", str(file), "--out", str(out)]) == 0
    found = {record.operating_point: record for record in read_records(out)}
    assert set(found) == {"full", "mild", "strong"}
    for name, budget in (("mild", 0.95), ("strong", 0.85)):
        details = found[name].details
        assert details["search"]["budget"] == budget
        assert details["search"]["flops_share"] <= budget
        assert details["search"]["search_seconds"] > 0
        assert len(details["configuration"]) == 2
        assert found[name].flops_speedup_unpadded > 1
    # trained and searched once
    assert len(list((out / "stages").glob("length_adaptive-*"))) == 1
    assert len(list((out / "search").glob("*/evaluated-*.jsonl"))) == 1


@pytest.mark.parametrize(
    ("reducer", "arguments", "said"),
    [
        ("LengthAdaptive", {}, "budget 0.01 is out of reach.*, or with length_basis row"),
        ("LengthAdaptive", {"length_basis": "row"}, "out of reach.*with a larger length_drop$"),
        ("PowerBert", {}, "PowerBert cannot be searched"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_found_before_any_training(
    reducer: str,
    arguments: dict[str, str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    smoke = yaml.safe_load((config_folder() / "compare" / "smoke.yaml").read_text())
    budgets = {"budgets": {"tiny": 0.01}}
    searched = {"reducer": reducer, "arguments": arguments, "search": budgets}
    methods = {"dense": {"reducer": "Dense"}, "searched": searched}
    file = tmp_path / "searched.yaml"
    file.write_text(yaml.safe_dump(smoke | {"methods": methods, "loggers": ["csv"]}))
    words = ("compare", "--config", str(file), "--out", str(tmp_path / "out"))
    assert re.search(said, complaint(capsys, *words))
    assert not (tmp_path / "out" / "stages").exists()
