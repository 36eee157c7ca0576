"""A leaderboard takes what can be checked, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.compare.leaderboard.made import entries, entry
from tests.compare.synthetic import saved
from tests.tasks.test_resampling import classes
from tokendrop.cli import main
from tokendrop.compare.leaderboard.entries import (
    entries_of,
    read_entries,
    without_places,
    write_entries,
)
from tokendrop.compare.leaderboard.page import AXES, fronts, write_page
from tokendrop.compare.results.bootstrap import on_resamples
from tokendrop.compare.results.records import record_path, write_record
from tokendrop.errors import UserError
from tokendrop.tasks import KINDS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def comparison(folder: Path, **changes: Any) -> Path:
    """Dense and a method of two seeds each, as ``compare`` leaves them."""
    folder.mkdir(exist_ok=True)
    for method, wrong in (("dense", 3), ("power_bert", 4)):
        for seed in (1, 2):
            right = [place % 10 >= wrong - seed + 1 for place in range(40)]
            run = saved(folder, method, right, seed, task="reviews", flops=1.0 + (wrong > 3))
            provenance = run.provenance | {
                "git_commit": COMMIT,
                "command": f"tokendrop compare --config configs/a.yaml --out {folder}",
                "config": {"backbone": "minilm-l6", "data": {"train_rows": 900}},
                "hardware": {"cpu": "AMD EPYC", "cores": 2, "gpus": []},
            }
            tuned = {"tuning": {"trials": 3, "cost": 2.94}} if method != "dense" else {}
            run = dataclasses.replace(run, provenance=provenance | changes, details=tuned)
            write_record(run, folder)
    return folder


def test_a_row_says_what_was_measured_and_what_made_it(tmp_path: Path) -> None:
    out = tmp_path / "rows" / "mine.csv"
    assert main(["leaderboard", str(comparison(tmp_path / "mine")), "--out", str(out)]) == 0
    dense, dropping = read_entries(out)
    assert (dense.kind, dropping.kind) == ("dense", "method")
    assert dropping.value == pytest.approx(0.65)
    assert dropping.gap == pytest.approx(-0.1)
    assert dropping.value_low < dropping.value < dropping.value_high
    assert dropping.seeds == "1 2"
    assert (dropping.train_rows, dropping.examples) == ("900", 1066)
    assert dropping.tuning == "3 trials, 2.9 fine-tunings"
    assert dense.tuning == "by hand"
    assert dropping.hardware == "AMD EPYC, 2 threads"
    assert dropping.commit == COMMIT[:12]
    # nobody else has that folder
    assert dropping.command == "tokendrop compare --config configs/a.yaml --out mine"


def spoil(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """As somebody's editor would, who knows of the sums beside the file too."""

    def spoiled(folder: Path) -> None:
        path = record_path(folder, "power_bert", "p", "reviews", 2)
        record = json.loads(path.read_text(encoding="utf-8"))
        change(record)
        for beside in path.parent.glob(f"{path.name}*"):
            beside.unlink()
        path.write_text(json.dumps(record), encoding="utf-8")

    return spoiled


def without(fact: str) -> Callable[[Path], None]:
    return spoil(lambda record: record["provenance"].pop(fact))


def edit_record(folder: Path) -> None:
    path = record_path(folder, "power_bert", "p", "reviews", 2)
    path.write_text(path.read_text(encoding="utf-8").replace("AMD EPYC", "AMD 386"))


def no_answers(folder: Path) -> None:
    next(folder.glob("predictions/power_bert*")).unlink()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (spoil(lambda record: record.update(value=0.99)), "but the record says 0.9900"),
        (edit_record, "was edited"),
        (no_answers, "answers are missing"),
        (without("command"), "does not say its command"),
        (without("git_commit"), "does not say its git commit"),
        (without("hardware"), "does not say its hardware"),
        (without("versions"), "does not say its versions"),
        (
            spoil(lambda record: record["provenance"].update(git_commit=COMMIT + "+")),
            "changes that are in no commit",
        ),
    ],
)
def test_what_cannot_be_believed_is_refused(
    fault: Callable[[Path], None],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = comparison(tmp_path / "mine")
    fault(folder)
    out = tmp_path / "mine.csv"
    assert main(["leaderboard", str(folder), "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error.splitlines()[-1]
    assert not out.exists()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("commit", "", "line 3: commit"),
        ("commit", "main", "line 3: commit"),
        ("value", "good", "line 3: value"),
        ("value", "0.99", "outside of its own interval"),
        ("flops", "-2", "line 3: flops"),
        ("seeds", "one", "line 3: seeds"),
        ("command", "", "line 3: command"),
    ],
)
def test_rows_that_somebody_wrote_are_checked(
    column: str, value: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    write_entries(path, entries())
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[1, column] = value
    frame.to_csv(path, index=False)
    with pytest.raises(UserError, match=said):
        read_entries(path)


def test_a_metric_a_little_outside_of_its_interval_is_read(tmp_path: Path) -> None:
    """As F1 of hundreds of classes with few examples each is: resamples lack some of them."""
    number, path = 300, tmp_path / "rows.csv"
    right = [place // 2 for place in range(2 * number)]
    answered = [(name + 1) % number if place % 5 == 0 else name for place, name in enumerate(right)]
    f1 = KINDS["classification"].of_resamples("f1", classes(right, answered, number))
    (metric,), found = on_resamples([f1], len(right), 300)
    low, high = np.quantile(found, [0.025, 0.975])
    assert not low <= metric <= high
    made = [entry(value=float(metric), value_low=float(low), value_high=float(high))]
    write_entries(path, made)
    assert read_entries(path) == made


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "as spreadsheets save it"])
def test_rows_come_back_as_they_were(mark: str, tmp_path: Path) -> None:
    made = [*entries(), entry("two", command="tokendrop compare --methods 'a: 1\nb:\u2028 2'")]
    path = tmp_path / "rows.csv"
    write_entries(path, made)
    path.write_bytes(mark.encode() + path.read_bytes())
    assert read_entries(path) == made


def test_a_row_that_lies_in_several_files_is_shown_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    write_entries(rows, [entry(), entry("power_bert", 0.79, 2.0)])
    for out in ("all.csv", "all.html"):
        left = tmp_path / ".0123abcd-1-x.draft"  # by a kill, on another machine
        left.write_text("half")
        os.utime(left, (0, 0))  # long ago
        assert main(["leaderboard", str(rows), str(rows), "--out", str(tmp_path / out)]) == 0
        assert capsys.readouterr().out.startswith("2 rows")
        assert not left.exists()


@pytest.mark.parametrize("name", ["results.csv", "index.html"])
def test_a_file_of_something_else_is_not_written_over(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / name
    write_entries(rows, [entry()])
    out.write_text("method,value\ndense,0.8\n")
    words = ["leaderboard", str(rows), "--out", str(out)]
    assert main(words) == 2
    assert f"--out {out} is there already and no leaderboard" in capsys.readouterr().err
    assert out.read_text() == "method,value\ndense,0.8\n"
    out.unlink()
    assert main(words) == main(words) == 0  # its own is written anew


def test_no_name_twice_and_no_other_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, others = tmp_path / "rows.csv", tmp_path / "others.csv"
    write_entries(rows, [entry()])
    write_entries(others, [entry(value=0.7)])
    for out, said in (
        ("all.csv", "several of the sources"),
        ("all.txt", "neither rows nor a page"),
    ):
        assert main(["leaderboard", str(rows), str(others), "--out", str(tmp_path / out)]) == 2
        assert said in capsys.readouterr().err
    assert main(["leaderboard", str(tmp_path / "none"), "--out", str(rows)]) == 2
    assert "holds no runs" in capsys.readouterr().err


def test_fronts_are_of_a_task_and_for_the_clock_of_a_machine() -> None:
    flops, clock, _ = AXES
    fast = entry("fast", 0.7, 3.0)
    rows = [
        entry(),
        entry("beaten", 0.79, 1.0),
        fast,
        entry("engine", 0.9, 9.0, kind="engine"),
        entry("other machine", 0.69, 2.9, hardware="NVIDIA H200"),
        entry("other task", 0.1, 1.4, task="films"),
        entry("fewer rows", 0.2, 1.4, train_rows="100"),
    ]
    assert fronts(rows, flops) == {0, 2, 5, 6}
    assert fronts(rows, clock) == {0, 2, 4, 5, 6}


def test_a_clock_of_nothing_but_noise_puts_no_method_on_a_front() -> None:
    flops, rows_32, one_row = AXES
    rows = [
        entry(),
        entry("noisy", 0.79, 2.0, noise_32=1.2, noise_1=0.1),
        entry("clear", 0.78, 2.0, noise_32=0.2, noise_1=0.1),
        entry("full", 0.81, 1.0),
    ]
    assert fronts(rows, flops) == {1, 3}
    assert fronts(rows, rows_32) == {2, 3}
    assert fronts(rows, one_row) == {0, 1}


def test_a_name_cannot_run_anything_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, [entry("<script>alert(1)</script>", command="</code><img src=x>")])
    text = path.read_text(encoding="utf-8")
    assert text.count("<script>") == 1
    assert "<img" not in text


@pytest.mark.parametrize(
    ("command", "shared"),
    [
        ("compare --out /srv/x/runs/mine --seeds '[1, 2]'", "compare --out mine --seeds '[1, 2]'"),
        ("compare --config=/a/b.yaml", "compare --config=b.yaml"),
        (r"compare --out C:\Users\me\mine", "compare --out mine"),
        ("compare --config configs/compare/a.yaml --out runs/a", None),
        ("compare --out ~/runs/a", "compare --out a"),
        ("compare --methods.a.ratio 1/2", None),
    ],
)
def test_places_of_a_machine_are_cut(command: str, shared: str | None) -> None:
    assert without_places(command) == (shared or command)


def test_one_folder_of_a_comparison_at_least(tmp_path: Path) -> None:
    assert [e.method for e in entries_of([comparison(tmp_path / "a")])] == ["dense", "power_bert"]
