"""`tokendrop compare` on the smoke comparison: complete, continued after a kill, never mixed."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

import tokendrop
from tests import drawing
from tests.compare.report.test_report import read
from tokendrop.cli import main
from tokendrop.compare.results.fates import read_fates, spread
from tokendrop.compare.results.floor import read_floors
from tokendrop.compare.results.frame import COLUMNS, POINT_COLUMNS
from tokendrop.configs import config_folder

SMOKE = str(config_folder() / "compare" / "smoke.yaml")
# what depends on the clock and may differ from run to run
TIMES = [
    "throughput_speedup_padded",
    "throughput_speedup_unpadded",
    "latency_speedup_b1",
    "train_seconds",
]
METHODS = {"dense", "power_bert", "dact_bert", "truncation", "token_merging"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    with drawing.drawn():
        assert main(["compare", "--config", SMOKE, "--out", str(out)]) == 0
    return out


def test_it_writes_everything_it_promises(undisturbed: Path) -> None:
    results = pd.read_csv(undisturbed / "results.csv")
    assert tuple(results.columns) == COLUMNS + POINT_COLUMNS
    assert set(results.method) >= METHODS
    assert (results.examples_eval == 64).all()
    assert results[TIMES].gt(0).all(axis=None)
    for name in ("summary.md", "report.html", "figures/trade_off_flops.png"):
        assert (undisturbed / name).stat().st_size > 0
    (floor,) = read_floors(undisturbed)
    assert floor.task == "rotten_tomatoes"
    for name in ("summary.md", "report.html"):
        assert floor.sentence in (undisturbed / name).read_text(encoding="utf-8")
    assert len(list((undisturbed / "runs").glob("*.json"))) == len(results)
    headings = set(read((undisturbed / "report.html").read_text(encoding="utf-8")).headings)
    assert headings >= {"Which tokens die where", "What is left of a text", "Calibration"}
    assert list((undisturbed / "wandb").glob("offline-run-*"))
    assert list((undisturbed / "logs").glob("*/metrics.csv"))


def test_dense_costs_what_dense_costs_and_methods_cost_less(undisturbed: Path) -> None:
    results = pd.read_csv(undisturbed / "results.csv").set_index(["method", "operating_point"])
    dense = results.loc[("dense", "default")]
    assert dense.flops_speedup_unpadded == pytest.approx(1)
    assert dense.kept_tokens_mean == 1
    assert (results.flops_speedup_padded > results.flops_speedup_unpadded).all()
    assert results.loc[("truncation", "first_8")].flops_speedup_unpadded > 2


def test_a_record_says_how_its_numbers_were_made(undisturbed: Path) -> None:
    record = json.loads(next((undisturbed / "runs").glob("power_bert--mild*.json")).read_text())
    made = record["provenance"]
    assert {"command", "versions", "hardware", "threads", "config", "seed"} <= set(made)
    assert made["config"]["reducer"]["init_args"]["mass_weight"] == 1e-4
    assert record["details"]["configuration"]
    assert [stage["name"] for stage in record["stages"]] == ["fine_tune", "search", "retrain"]
    for split in (record, record["dev"]):
        predictions = pd.read_csv(undisturbed / split["predictions_file"])
        assert len(predictions) == 64
        right = predictions[["negative", "positive"]].idxmax(axis=1) == predictions.label
        assert right.mean() == pytest.approx(split["value"])
    # what was logged after the epoch that the weights are of
    assert record["dev"]["value"] == pytest.approx(
        max(epoch["metrics"]["accuracy"] for epoch in record["stages"][-1]["curve"])
    )


def test_a_method_that_drops_nothing_is_noted_with_the_cure(undisturbed: Path) -> None:
    record = json.loads(next((undisturbed / "runs").glob("length_adaptive--default*")).read_text())
    assert record["kept_tokens_mean"] == 1
    note = "Drops nothing: 100.0 % of tokens x layers stay; it has no configuration: search for one"
    assert any(said.startswith(note) for said in record["notes"])
    for path in (undisturbed / "runs").glob("dense--*.json"):
        assert not any("Drops nothing" in said for said in json.loads(path.read_text())["notes"])
    written = (undisturbed / "summary.md").read_text(encoding="utf-8")
    assert "default (drops nothing)" in written
    assert note in written


def test_a_record_holds_the_memory_of_a_pass(undisturbed: Path) -> None:
    record = json.loads(next((undisturbed / "runs").glob("truncation--*.json")).read_text())
    peaks = record["timing"]["batch32"]["peak_mib"]
    assert 0 < peaks["method"] < peaks["packed_dense"]
    assert peaks["padded_dense"] > 0


def test_lengths_are_those_of_the_texts_whose_answers_stand_beside_them(undisturbed: Path) -> None:
    for path in (undisturbed / "fates").glob("*.json"):
        fates = read_fates(path)
        assert len(fates.row_tokens) == 64
        assert fates.row_tokens != sorted(fates.row_tokens)
        shown = spread(64, len(fates.samples))
        assert [fates.row_tokens[row] for row in shown] == [one.tokens for one in fates.samples]


def test_the_fine_tuned_start_is_trained_once(undisturbed: Path) -> None:
    assert len(list((undisturbed / "stages").glob("fine_tune-*"))) == 1


def test_points_of_a_chains_parts_need_one_training(undisturbed: Path) -> None:
    results = pd.read_csv(undisturbed / "results.csv").set_index(["method", "operating_point"])
    full, short = (results.loc[("dact_and_length_adaptive", point)] for point in ("full", "short"))
    assert full.kept_tokens_mean > short.kept_tokens_mean
    assert full.train_seconds == short.train_seconds
    record = next((undisturbed / "runs").glob("dact_and_length_adaptive--short*.json"))
    described = json.loads(record.read_text())
    assert described["details"]["configuration"] == [24, 16]
    assert [s["name"] for s in described["stages"]] == ["fine_tune", "0_joint", "1_length_adaptive"]


def test_the_model_of_a_run_knows_its_figures(undisturbed: Path) -> None:
    record = json.loads(next((undisturbed / "runs").glob("*_adaptive--short*.json")).read_text())
    point = {"parts.0.exit_rule": "tight", "parts.1.configuration": [24, 16]}
    figures = tokendrop.load(undisturbed / record["details"]["model"], **point).figures
    assert figures is not None
    assert figures.metrics == record["metrics"]
    assert figures.speedups["latency_speedup_b1"] == record["latency_speedup_b1"]
    assert figures.provenance["versions"] == record["provenance"]["versions"]


def test_again_it_only_reports(undisturbed: Path) -> None:
    stages = sorted((undisturbed / "stages").iterdir())
    before = [path.stat().st_mtime_ns for path in stages]
    assert main(["compare", "--config", SMOKE, "--out", str(undisturbed)]) == 0
    assert [path.stat().st_mtime_ns for path in stages] == before


@pytest.mark.parametrize(
    ("option", "changed"),
    [
        (["--fine_tune.epochs", "7"], "fine_tune.epochs 1, and now it is 7"),
        (["--data.train_rows", "9"], "data.train_rows 200, and now it is 9"),
        # although none of its runs is there
        (
            ["--methods", "{new: {reducer: baselines.FirstK}}", "--data.train_rows", "9"],
            "data.train_rows 200, and now it is 9",
        ),
        (["--seeds", "[5]", "--data.max_length", "20"], "data.max_length 32, and now it is 20"),
    ],
)
def test_runs_of_other_settings_are_not_mixed_in(
    undisturbed: Path, capsys: pytest.CaptureFixture[str], option: list[str], changed: str
) -> None:
    before = {path: path.read_bytes() for path in undisturbed.glob("*.*")}
    assert main(["compare", "--config", SMOKE, "--out", str(undisturbed), *option]) == 2
    assert changed in capsys.readouterr().err
    assert {path: path.read_bytes() for path in undisturbed.glob("*.*")} == before


def test_what_an_earlier_training_of_a_method_made_stays_no_part_of_the_table(
    tmp_path: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_sums = shutil.ignore_patterns("*.sha256")
    shutil.copytree(undisturbed / "runs", tmp_path / "runs", ignore=without_sums)
    (path,) = (tmp_path / "runs").glob("adapler--*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    # as versions wrote it that trained AdapLeR in another way
    assert record["provenance"]["config"].pop("recipe") > 1
    path.write_text(json.dumps(record), encoding="utf-8")
    assert main(["compare", "--config", SMOKE, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert f"{path} was made by an earlier version's training" in error
    assert not (tmp_path / "stages").exists()


def test_a_seed_and_a_method_join_what_lies_in_the_folder(
    tmp_path: Path,
    undisturbed: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    kept = {path: path.read_bytes() for path in (out / "runs").glob("*.json")}
    methods = "{dense: {reducer: Dense}, merge_half: {reducer: baselines.TokenMerging}}"
    words = ["--methods", methods, "--seeds", "[1, 2]"]
    assert main(["compare", "--config", SMOKE, "--out", str(out), *words]) == 0
    said = capsys.readouterr().err
    assert "dense-default-rotten_tomatoes-seed1: done before" in said
    assert "merge_half-default-rotten_tomatoes-seed1: estimating what is left" in said
    assert re.search(r"merge_half-default-rotten_tomatoes-seed2: (less than|about) .* left", said)
    # of the run whose stage is trained here there is one line for its epoch, of its metrics
    assert re.search(r"dense-default-rotten_tomatoes-seed2 fine_tune 1/1: dev/loss", said)
    assert "dev/score" not in said
    # all three runs show the same texts
    assert caplog.text.count("of 16 texts were cut to 32 tokens") == 1
    assert {path: path.read_bytes() for path in kept} == kept
    results = pd.read_csv(out / "results.csv")
    assert len(results) == len(kept) + 3
    assert {"merge_half", "power_bert"} <= set(results["method"])


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--methods", "{x: {reducer: Dens}}"], "did you mean 'Dense'"),
        (
            ["--methods.last", "{reducer: baselines.FewerLayers, arguments: {layers: 9}}"],
            "last default on rotten_tomatoes: layers 9 is out of range",
        ),
        (
            ["--tasks", "[rotten_tomatoes, mrpc]", "--task_data", "{mrpc: {dir: gone}}"],
            "gone",
        ),
    ],
    ids=["unknown method", "last method does not fit the backbone", "last task has no files"],
)
def test_what_cannot_run_is_found_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], error: str
) -> None:
    out = tmp_path / "out"
    assert main(["compare", "--config", SMOKE, *words, "--out", str(out)]) == 2
    assert error in capsys.readouterr().err
    assert not (out / "stages").exists()


def test_killed_and_started_again_it_ends_with_the_same_numbers(
    undisturbed: Path, tmp_path: Path
) -> None:
    # a shared start, stages, a search
    methods = ["dense", "power_bert", "length_adaptive"]
    smoke = yaml.safe_load(Path(SMOKE).read_text(encoding="utf-8"))
    few = {name: smoke["methods"][name] for name in methods}
    file, out = tmp_path / "few.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(smoke | {"methods": few}), encoding="utf-8")
    words = ["compare", "--config", str(file), "--out", str(out), "--loggers", "[csv]"]
    command = [sys.executable, "-m", "tokendrop.cli", *words]
    # one thread, as in this process: other sums would round differently
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    moment = random.Random(time.time_ns())
    for begun in (1, 4):
        process = subprocess.Popen(command, env=settings, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list(out.glob("stages/*"))) < begun and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(moment.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(words) == 0
    key = ["method", "operating_point"]
    ours, theirs = (
        pd.read_csv(folder / "results.csv").drop(columns=TIMES).set_index(key).loc[methods]
        for folder in (out, undisturbed)
    )
    pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=1e-6)


def test_a_model_chosen_from_it_is_what_test_confirms(
    tmp_path: Path,
    undisturbed: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "chosen"
    words = ["choose", str(undisturbed), "--out", str(out)]
    assert main([*words, "--max-loss", "100"]) == 2
    assert "no more than" in capsys.readouterr().err
    assert not out.exists()
    # as if this random model had learned something
    monkeypatch.setattr("tokendrop.cli.choose.baselines", lambda *_: {})
    # timing is left to chance here: whatever is chosen, it must be what was measured
    write_quick_runs(undisturbed, tmp_path / "quick")
    words[1] = str(tmp_path / "quick")
    assert main([*words, "--max-loss", "100"]) == 0
    told = capsys.readouterr().out
    assert "length_adaptive (nine_tenths)" in told
    # what the clock cannot tell from 1 is no gain
    assert "≈1.20x ±0.50 as fast on one row" in told
    record = json.loads(
        next((undisturbed / "runs").glob("length_adaptive--nine_tenths*.json")).read_text()
    )
    assert main(["test", "--checkpoint", str(out)]) == 0
    figures = json.loads((out / "reducer" / "figures.json").read_text(encoding="utf-8"))
    assert figures[-1]["figures"]["metrics"]["accuracy"] == pytest.approx(record["value"])
    assert figures[-1]["figures"]["speedups"]["flops_speedup_unpadded"] == pytest.approx(
        record["flops_speedup_unpadded"], rel=1e-5
    )
    assert (
        tokendrop.load(out).reducer.describe()["configuration"]
        == record["details"]["configuration"]
    )
    assert main([*words, "--max-loss", "100"]) == 2
    assert "is there already" in capsys.readouterr().err


def write_quick_runs(folder: Path, out: Path) -> None:
    """A copy of a comparison in which a searched point is the fastest by the clock at 32 rows."""
    left_out = shutil.ignore_patterns("logs", "wandb", "figures", "*.sha256")
    shutil.copytree(folder, out, ignore=left_out)
    (path,) = (out / "runs").glob("length_adaptive--nine_tenths*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    record["timing"]["batch1"]["noise"] = 0.5
    record |= {"throughput_speedup_unpadded": 900.0, "latency_speedup_b1": 1.2}
    path.write_text(json.dumps(record), encoding="utf-8")
