"""`tokendrop report`: several comparisons in one, and what cannot be one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.compare.report.test_report import read
from tests.compare.synthetic import grid, record
from tokendrop.cli import main
from tokendrop.compare.results import records
from tokendrop.compare.results.joining import joined_comparisons
from tokendrop.compare.results.records import Record
from tokendrop.errors import UserError

FINE_TUNED = {"backbone": "small", "fine_tune": {"epochs": 3}, "random_init": {"a": 1, "b": 2}}
FINE_TUNED |= {"precision": "32-true"}


def folder(place: Path, runs: list[Record]) -> Path:
    for run in runs:
        records.write_record(run, place)
    return place


def test_methods_and_seeds_of_several_folders_are_one_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = folder(tmp_path / "one", grid(seeds=(0, 1)))
    # the same dense run on a busier machine
    again = replace(grid(seeds=(0, 1))[0], train_seconds=99.0, latency_speedup_b1=0.7)
    other = folder(tmp_path / "other", [again, record("adapler", "mild", seed=0)])
    out = tmp_path / "new" / "all"
    assert main(["report", str(one), str(other), "--out", str(out)]) == 0
    assert str(out / "report.html") in capsys.readouterr().out
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "adapler" in (out / "summary.md").read_text(encoding="utf-8")
    assert len(pd.read_csv(out / "results.csv")) == len(grid(seeds=(0, 1))) + 1
    assert (out / "figures" / "trade_off_flops.png").is_file()
    read(page)
    assert "adapler" in page
    assert "power_bert" in page
    assert str(tmp_path) not in page
    found, _ = joined_comparisons([one, other])
    assert len(found) == len(grid(seeds=(0, 1))) + 1
    assert found[0].train_seconds == 60


def test_tables_of_something_else_are_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, out = folder(tmp_path / "one", grid()), tmp_path / "mine"
    out.mkdir()
    (out / "summary.md").write_text("mine")
    words = ["report", str(one), "--out", str(out)]
    assert main(words) == 2
    assert f"{out} has summary.md of something else and no report" in capsys.readouterr().err
    assert [(file.name, file.read_text()) for file in out.iterdir()] == [("summary.md", "mine")]
    (out / "summary.md").unlink()
    (out / "report.html").write_text("<title>mine</title>")
    assert main(words) == 2
    assert f"{out} has report.html of something else" in capsys.readouterr().err
    (out / "report.html").unlink()
    assert main(words) == main(words) == 0  # its own is written anew


def test_the_same_run_with_another_outcome_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = folder(tmp_path / "one", grid())
    other = folder(tmp_path / "other", [record("first_k", "k 8", value=0.9)])
    assert main(["report", str(one), str(other), "--out", str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    for fact in ("first_k (k 8), reviews, seed 0", str(one), str(other), "0.712 and 0.9"):
        assert fact in error
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"metric": "f1"}, "another metric"),
        ({"examples_eval": 7}, "another number of test rows"),
        ({"provenance": {"config": {"backbone": "large"}}}, "another backbone"),
        (
            {"provenance": {"config": FINE_TUNED | {"fine_tune": {"epochs": 1}}}},
            "another shared fine-tuning .*epochs 1",
        ),
        ({"provenance": {"config": FINE_TUNED, "data_fingerprint": "b"}}, "another set of rows"),
        (
            {"provenance": {"config": FINE_TUNED, "backbone_fingerprint": "b"}},
            "another set of weights of the backbone",
        ),
        (
            {"provenance": {"config": FINE_TUNED, "evaluate_in": "bf16"}},
            "another type of weights",
        ),
        ({"provenance": {"config": FINE_TUNED | {"precision": "bf16-mixed"}}}, "another precision"),
        ({"provenance": {"config": FINE_TUNED | {"patience": 1}}}, "another patience"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    changes: dict[str, object], what: str, tmp_path: Path
) -> None:
    provenance = {
        "config": FINE_TUNED,
        "data_fingerprint": "a",
        "backbone_fingerprint": "a",
    }
    one = folder(tmp_path / "one", [record(provenance=provenance)])
    other = folder(
        tmp_path / "other", [record("new", "p", **({"provenance": provenance} | changes))]
    )
    with pytest.raises(UserError, match=f"reviews has {what}"):
        joined_comparisons([one, other])


def test_runs_of_other_settings_are_no_seeds_of_one_point(tmp_path: Path) -> None:
    def place(name: str, seed: int, layers: int) -> Path:
        spec = {"class_path": "baselines.FewerLayers", "init_args": {"layers": layers}}
        config = FINE_TUNED | {"reducer": spec, "recipe": 1}
        run = record("layers", "default", seed=seed, provenance={"config": config})
        return folder(tmp_path / name, [run])

    one, same, other = place("one", 1, 2), place("same", 2, 2), place("other", 3, 1)
    assert len(joined_comparisons([one, same])[0]) == 2
    said = (
        rf"layers \(default\), reviews, was run with reducer.init_args.layers 2 in {one} "
        rf"\(seed 1\) and 1 in {other} \(seed 3\), which are no seeds of one point"
    )
    with pytest.raises(UserError, match=said):
        joined_comparisons([one, same, other])
    place("one", 3, 1)
    with pytest.raises(UserError, match=f"another name, or copy {one}, leave in the runs/ of each"):
        joined_comparisons([one])


def test_a_run_in_another_metric_is_told_as_that(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", [record()])
    other = folder(tmp_path / "other", [record(metric="f1")])
    with pytest.raises(UserError, match=r"reviews has another metric .*f1.* than .*accuracy"):
        joined_comparisons([one, other])


def test_data_that_differ_are_named_by_the_setting_that_makes_them_differ(tmp_path: Path) -> None:
    places, whole = ({"dir": name, "text": "body"} for name in ("a", "b"))
    for name, mine, theirs, said in (
        ("size", {"batch_size": 16}, {"batch_size": 32}, r"data.batch_size in .* \(32\) than .*16"),
        ("rows", {"train_rows": None}, {"train_rows": 90}, r"data.train_rows in .* \(90\).*None"),
        ("unset", {}, {"max_length": 64}, r"data.max_length in .* \(64\) than in .* \(unset\)"),
        ("places", {}, {}, "set of rows"),
    ):
        folders = [
            folder(
                tmp_path / name / side,
                [record(side, provenance={"config": {"data": data}, "data_fingerprint": side})],
            )
            for side, data in (("one", places | mine), ("other", whole | theirs))
        ]
        with pytest.raises(UserError, match=f"reviews has another {said}"):
            joined_comparisons(folders)


def test_settings_in_another_order_are_the_same(tmp_path: Path) -> None:
    turned = dict(reversed(FINE_TUNED.items())) | {"random_init": {"b": 2, "a": 1}}
    runs = [record(provenance={"config": FINE_TUNED})]
    one = folder(tmp_path / "one", runs)
    other = folder(tmp_path / "other", [record("new", "p", provenance={"config": turned})])
    assert len(joined_comparisons([one, other])[0]) == 2


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no runs"):
        joined_comparisons([tmp_path / "nothing"])


def test_files_are_found_from_anywhere(tmp_path: Path) -> None:
    run = record(predictions_file="predictions/a.csv", fates_file="fates/a.json")
    ((found,), _) = joined_comparisons([folder(tmp_path / "one", [run])])
    assert Path("elsewhere") / str(found.predictions_file) == tmp_path / "one/predictions/a.csv"
    assert Path(str(found.fates_file)) == tmp_path / "one/fates/a.json"
