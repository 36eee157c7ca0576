from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compare.synthetic import grid, record
from tokendrop.compare.results import records
from tokendrop.compare.results.points import points
from tokendrop.errors import UserError
from tokendrop.measure.measures import VALUE


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = grid(seeds=(1, 0))
    for one in written:
        path = records.write_record(one, tmp_path)
        assert path == records.record_path(
            tmp_path, one.method, one.operating_point, one.task, one.seed
        )
    assert records.read_records(tmp_path) == records.ordered(written)


def test_file_name_and_order(tmp_path: Path) -> None:
    names = [
        records.write_record(record(method, "p", seed=seed), tmp_path).name
        for method, seed in (("zeta", 0), ("alpha", 1), ("alpha", 0), ("dense", 7))
    ]
    assert names[0] == "zeta--p--reviews--seed0.json"
    found = [(r.method, r.seed) for r in records.read_records(tmp_path)]
    assert found == [("dense", 7), ("alpha", 0), ("alpha", 1), ("zeta", 0)]


@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=2, unique=True))
def test_runs_of_different_names_never_share_a_file(points: list[str]) -> None:
    one, other = (records.record_path(Path("out"), "m", point, "t", 0) for point in points)
    assert one != other
    assert one.parent == other.parent == Path("out/runs")


def test_an_empty_folder_has_no_records(tmp_path: Path) -> None:
    assert records.read_records(tmp_path) == []


def test_a_copied_record_is_no_further_seed(tmp_path: Path) -> None:
    for run in grid(seeds=(0, 1)):
        path = records.write_record(run, tmp_path)
    copied = path.with_name("a copy.json")
    copied.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=f"{copied} and {path} hold the same run: delete one"):
        records.read_records(tmp_path)


def test_a_kill_while_writing_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = record(value=0.5)
    records.write_record(old, tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            records.write_record(record(value=0.9), tmp_path)
    assert records.read_records(tmp_path) == [old]


def test_drafts_of_a_killed_run_are_ignored(tmp_path: Path) -> None:
    path = records.write_record(record(), tmp_path)
    path.with_name(f".{path.name}-x3k9").write_text('{"schema": 1, "meth')
    assert len(records.read_records(tmp_path)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"schema": 2', '"schema": 1'),
        lambda text: text.replace('"seed":', '"sead":'),
    ],
)
def test_a_damaged_record_is_named_with_its_cure(tmp_path: Path, damage: object) -> None:
    path = records.write_record(record(), tmp_path)
    assert callable(damage)
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match="delete it and run again") as error:
        records.read_records(tmp_path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_record_of_a_newer_version_is_not_to_be_deleted(tmp_path: Path) -> None:
    path = records.write_record(record(), tmp_path)
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 3'))
    with pytest.raises(UserError, match="a newer version of tokendrop: update this one"):
        records.read_records(tmp_path)


def test_a_record_is_plain_json(tmp_path: Path) -> None:
    content = json.loads(records.write_record(record("m", "p", value=0.75), tmp_path).read_text())
    assert (content["schema"], content["method"], content["value"]) == (2, "m", 0.75)


def test_points_are_means_over_seeds() -> None:
    runs = [record("m", "p", value=value, seed=seed) for seed, value in enumerate((0.5, 0.7, 0.9))]
    (point,) = points(runs)
    assert point.mean(VALUE) == pytest.approx(0.7)
    assert point.std(VALUE) == pytest.approx(0.2)
    assert points(runs[:1])[0].std(VALUE) is None


def test_every_file_says_that_more_is_better_and_one_that_does_not_is_refused(
    tmp_path: Path,
) -> None:
    path = records.write_record(record(), tmp_path)
    content = json.loads(path.read_text())
    assert content["higher_is_better"] is True
    assert records.read_records(tmp_path) == [record()]
    path.write_text(json.dumps(content | {"higher_is_better": False}))
    with pytest.raises(UserError, match="higher_is_better"):
        records.read_records(tmp_path)


@pytest.mark.parametrize(
    ("place", "odd"),
    [
        ("value", float("nan")),
        ("dev.flops_speedup_unpadded", float("inf")),
        ("kept_tokens_per_layer.2", float("-inf")),
        ("timing.batch32", 0.1),
        ("timing.batch32.rows", "many"),
        ("timing.batch1.noise", [0.05]),
        ("stages.1", "re-train"),
        ("stages.1.seconds", "long"),
        ("stages.0.flops", 0),
        ("stages.0.curve.1.metrics", 0.8),
        ("details.tuning", {"trials": "four", "cost": 1.0}),
        ("details.engine", ["ONNX Runtime"]),
        ("details.model", "stages/" + "m" * 400),
        ("provenance.config", "demo.yaml"),
        ("provenance.config.run", ["reviews"]),
        ("provenance.config.task_data", {"reviews": 3}),
        ("provenance.versions", ["torch"]),
        ("provenance.hardware", {"gpus": "one"}),
        ("provenance.threads", "two"),
    ],
)
def test_what_tables_read_is_what_they_take_it_for(tmp_path: Path, place: str, odd: object) -> None:
    path = records.write_record(record("m", "p"), tmp_path)
    content = json.loads(path.read_text())
    *parents, last = (int(part) if part.isdigit() else part for part in place.split("."))
    inner = content
    for part in parents:
        inner = inner[part]
    inner[last] = odd
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="delete it and run again") as error:
        records.read_records(tmp_path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_record_may_say_more_than_tables_read(tmp_path: Path) -> None:
    described = {"cluster_sizes": {"2": [3, 1]}, "configuration": "none", "tuning": None}
    written = record("mine", "p", details=described, provenance={"site": ["x"]}, timing={})
    records.write_record(written, tmp_path)
    assert records.read_records(tmp_path) == [written]
