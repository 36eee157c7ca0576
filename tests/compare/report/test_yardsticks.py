"""What engines are in a report: named, beside the methods and not among them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.compare.synthetic import record, saved
from tokendrop.compare.report.numbers import best_cells
from tokendrop.compare.report.tables import display_frame
from tokendrop.compare.report.yardsticks import yardsticks
from tokendrop.compare.results.analysis import analyse
from tokendrop.compare.results.fronts import fronts
from tokendrop.compare.results.records import Record

NINE = [1] * 90 + [0] * 10
LOSES = [1] * 60 + [0] * 40


def engine(folder: Path, right: list[int], clock: float, point: str = "arrival") -> Record:
    run = saved(folder, "onnxruntime-int8", right, point=point, clock=clock)
    run.details.clear()
    run.details["engine"] = "ONNX Runtime, int8"
    return run


def said(folder: Path, *runs: Record) -> list[str]:
    return list(yardsticks(analyse(runs, [], folder).engines))


def test_what_beats_packed_dense_and_a_method_is_said(tmp_path: Path) -> None:
    runs = [
        saved(tmp_path, "dense", NINE),
        engine(tmp_path, NINE[::-1], 1.5),
        engine(tmp_path, NINE, 2.0, "sorted"),
        saved(tmp_path, "slow", NINE, clock=1.4, flops=2),
        saved(tmp_path, "mixed", NINE, clock=1.2, flops=2, point="mild"),
        saved(tmp_path, "mixed", LOSES, clock=3.0, flops=3, point="strong"),
    ]
    first, second = said(tmp_path, *runs)
    assert first == (
        "On reviews dense in ONNX Runtime, int8 (sorted) beats packed dense by the clock: 2.00x "
        "±0.02 at 32 rows and 1.80x ±0.05 on one row; its answers cannot be told from "
        "those of dense (+0.00 to +0.00 points)."
    )
    assert second == (
        "On reviews dense in ONNX Runtime, int8 (sorted) is faster at 32 rows than mixed (mild) "
        "and every point of slow, and not told to be worse."
    )


def test_a_loss_is_said_and_beats_no_method_that_is_better(tmp_path: Path) -> None:
    runs = [saved(tmp_path, "dense", NINE), saved(tmp_path, "m", NINE, clock=1.1, flops=2)]
    (only,) = said(tmp_path, *runs, engine(tmp_path, LOSES, 2.0))
    assert "; it loses 30.00 points (-39.00 to -21.00)." in only


def test_what_cannot_be_paired_is_not_beaten(tmp_path: Path) -> None:
    """Without its answers, or of another seed, whatever the means are."""
    runs = [saved(tmp_path, "dense", NINE), engine(tmp_path, NINE, 2.0)]
    gone = replace(saved(tmp_path, "m", LOSES, clock=1.1, flops=2), predictions_file=None)
    other = replace(saved(tmp_path, "n", LOSES, clock=1.1, flops=2), seed=7)
    (only,) = said(tmp_path, *runs, gone, other)
    assert "beats packed dense" in only


def test_within_the_noise_nothing_is_beaten(tmp_path: Path) -> None:
    dense = saved(tmp_path, "dense", NINE)
    (only,) = said(tmp_path, dense, engine(tmp_path, NINE, 1.01))
    assert only.startswith("On reviews packed dense is not slower than dense in ONNX Runtime, int8")


def test_where_dense_learned_nothing_only_the_clock_counts(tmp_path: Path) -> None:
    half = [1, 0] * 50
    runs = [saved(tmp_path, "dense", half), saved(tmp_path, "m", half, clock=1.1, flops=2)]
    (only,) = said(tmp_path, *runs, engine(tmp_path, half, 2.0))
    assert only.endswith("on one row.")


def test_it_is_no_method_among_methods(tmp_path: Path) -> None:
    methods = [record("a", "p", flops=2), record("b", "p", flops=1.5, clock=1.1)]
    runs = [record("dense"), *methods, engine(tmp_path, NINE, 9.0)]
    assert {front.method for front in fronts(runs)} == {"a", "b"}
    (budgets,) = analyse(runs, [], tmp_path).budgets
    assert {one.point.method for at in budgets.budgets for one in at.standings} <= {"a", "b"}
    assert not budgets.keep_all
    table = display_frame(runs)
    assert list(table["Method"]) == ["dense", "dense in ONNX Runtime, int8", "a", "b"]
    assert table["Point"][1] == "arrival"
    assert [bool(best) for best in best_cells(runs, table)] == [False, False, True, True]
