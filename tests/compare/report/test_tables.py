from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from tests.compare.synthetic import grid, record
from tokendrop.compare.report import numbers, origins, summary, tables
from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.sentences import references
from tokendrop.compare.results import frame, fronts

EXPECTED = (
    "method,operating_point,task,seed,metric,value,flops_speedup_padded,flops_speedup_unpadded,"
    "throughput_speedup_padded,throughput_speedup_unpadded,latency_speedup_b1,kept_tokens_mean,"
    "layers_mean,train_seconds,examples_eval,train_flops,train_cost,"
    "value_mean,value_std,vs_dense,vs_dense_low,vs_dense_high,mcnemar_p,front_hypervolume"
)


def test_results_have_the_fixed_columns_and_one_row_per_run(tmp_path: Path) -> None:
    runs = grid(seeds=(1, 0))
    text = frame.write_results(tmp_path, runs).read_text()
    assert text.splitlines()[0] == EXPECTED
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(runs)
    assert rows[0]["method"] == "dense"
    keys = [(row["method"], row["operating_point"], int(row["seed"])) for row in rows]
    assert keys[2:] == sorted(keys[2:])


def test_results_do_not_depend_on_the_order_in_which_runs_finished() -> None:
    runs = grid(seeds=(0, 1))
    pd.testing.assert_frame_equal(frame.results_frame(runs), frame.results_frame(runs[::-1]))


def test_results_survive_a_round_trip(tmp_path: Path) -> None:
    runs = grid()
    read = pd.read_csv(frame.write_results(tmp_path, runs))
    pd.testing.assert_frame_equal(read, frame.results_frame(runs), check_dtype=False)


def test_summary_is_mean_and_deviation_over_seeds() -> None:
    runs = [record(value=v, seed=s) for s, v in enumerate((0.80, 0.82, 0.84))]
    given = ((0, 0.7, 1.2), (1, 0.8, 1.6), (2, 0.75, 1.4))
    runs += [record("m", "p", value=v, clock=c, seed=s) for s, v, c in given]
    frame = tables.summary_frame(runs).set_index("Method")
    assert frame.loc["dense", "Value"] == pytest.approx(0.82)
    assert frame.loc["dense", "Std"] == pytest.approx(0.02)
    assert frame.loc["m", "Clock (unpadded)"] == pytest.approx(1.4)
    assert frame.loc["m", "vs dense"] == pytest.approx(-0.07)
    assert list(frame["Seeds"]) == [3, 3]
    shown = tables.display_frame(runs)
    assert list(shown["accuracy"]) == ["82.00 ± 2.00 %", "75.00 ± 5.00 %"]


def test_a_result_with_a_caveat_is_marked_where_it_is_shown(tmp_path: Path) -> None:
    note = "AdapLeR: no epoch came within a point of the fine-tuned model."
    marked = record("adapler", "default", value=0.7)
    marked = replace(marked, details={"caveat": note}, notes=[f"† {note}"])
    runs = [*grid(), marked]
    values = tables.display_frame(runs).set_index("Method")["accuracy"]
    assert values["adapler"] == "70.00 % †"
    assert values["dense"] == "82.40 %"
    for written in (summary.write_summary(tmp_path, runs), write_report(tmp_path, runs).path):
        said = written.read_text(encoding="utf-8")
        assert "70.00 % †" in said
        assert f"† {note}" in said


def test_what_drops_nothing_is_marked_and_never_the_best() -> None:
    runs = [*grid(), record("m", "idle", value=0.9, kept_tokens_mean=0.99)]
    shown = tables.display_frame(runs).set_index("Method")
    assert shown.loc["m", "Point"] == "idle (drops nothing)"
    assert shown.loc["dense", "Point"] == "full"
    (page,) = numbers.page_tables(runs)
    best = {row.cells[1]: row.best[page.columns.index("accuracy")] for row in page.rows}
    assert best["tau 0.05"]
    assert not best["idle (drops nothing)"]


def test_a_ratio_within_the_noise_of_the_clock_says_so() -> None:
    # the records' noise is 2 % in batches and 5 % for one row
    runs = [record(), record("m", "p", clock=1.015), record("n", "q", clock=1.03)]
    shown = tables.display_frame(runs).set_index("Method")
    assert shown.loc["m", "Clock (unpadded)"] == "≈1.01x ±0.02"
    assert shown.loc["n", "Clock (unpadded)"] == "1.03x"
    assert shown.loc["m", "FLOPs (unpadded)"] == "1.00x"
    assert shown.loc["m", "Clock (1 row)"] == "0.91x"
    (page,) = numbers.page_tables(runs)
    place = page.columns.index("Clock (unpadded)")
    assert [row.within_noise[place] for row in page.rows] == [True, True, False]


def test_of_two_dense_models_both_are_shown_and_the_better_on_dev_is_compared_with() -> None:
    longer = record("longer", value=0.8, dev_value=0.9, details={"reference": True})
    runs = [record(value=0.82), longer, record("m", "p", value=0.79, flops=2)]
    shown = tables.display_frame(runs).set_index("Method")
    assert list(shown.index) == ["dense", "longer", "m"]
    assert list(shown["vs dense"]) == ["+2.00", "+0.00", "-1.00"]
    assert references(runs) == [
        "On reviews methods are compared with longer, which is better on dev than dense."
    ]
    assert not references(runs[::2])
    assert [front.method for front in fronts.fronts(runs)] == ["m"]


def test_a_dense_model_with_fewer_seeds_is_not_called_worse() -> None:
    reference = {"reference": True}
    longer = record("longer", value=0.9, details=reference)
    runs = [record(seed=0), record(seed=1), longer]
    assert references(runs) == [
        "On reviews methods are compared with dense, and not with longer, which has run with fewer "
        "seeds."
    ]
    even = [record("even", seed=seed, details=reference) for seed in (0, 1)]
    assert references([*runs, *even]) == [
        "On reviews methods are compared with dense, which is no worse on dev than even, and not "
        "with longer, which has run with fewer seeds."
    ]
    unknown = [record("even", seed=seed, details=reference, dev=None) for seed in (0, 1)]
    assert references([*runs[:2], *unknown]) == [
        "On reviews methods are compared with dense, and not with even."
    ]


def test_one_seed_has_no_deviation() -> None:
    assert tables.summary_frame(grid())["Std"].isna().all()
    assert tables.display_frame(grid())["accuracy"].iloc[0] == "82.40 %"


def test_dense_is_the_one_of_the_same_task() -> None:
    runs = [record(value=0.9), record("m", value=0.8)]
    runs += [record(value=0.6, task="other"), record("m", value=0.5, task="other")]
    assert list(tables.display_frame(runs)["vs dense"]) == ["+0.00", "-10.00"] * 2


def test_several_metrics_get_a_column() -> None:
    runs = [record(), replace(record(task="other"), metric="f1")]
    shown = tables.display_frame(runs)
    assert list(shown["Metric"]) == ["f1", "accuracy"]
    assert "Value" in shown


def test_without_dense_nothing_is_compared() -> None:
    assert list(tables.display_frame([record("m", value=0.4)])["vs dense"]) == [""]


def test_summary_file_explains_every_column_and_names_its_source(tmp_path: Path) -> None:
    runs = [replace(r, notes=["3 texts were cut"]) for r in grid()]
    text = summary.write_summary(tmp_path, runs).read_text()
    for column in tables.display_frame(runs).columns:
        assert f"- **{column}**: " in text
    assert "plain Hugging Face model on padded batches" in text
    assert "the same packed encoder with nothing dropped" in text
    assert text.count("3 texts were cut") == 1
    for fact in ("reviews, 1066 test rows", "torch 2.13.0", "tokendrop compare", "2 cores"):
        assert fact in text


def test_a_note_says_whose_it_is_and_on_which_task() -> None:
    cut, untrained = "3 texts were cut", "Not trained."
    runs = [
        replace(record(), notes=[cut]),
        replace(record("merging"), notes=[cut, untrained]),
        record(task="other"),
        replace(record("merging", task="other"), notes=[untrained]),
    ]
    assert origins.notes_of(runs) == {
        cut: ["every method on reviews"],
        untrained: ["merging (full)"],
    }
    assert origins.notes_of(runs[:2])[cut] == ["every method"]


def test_what_differs_between_runs_is_given_as_a_range() -> None:
    lines = origins.provenance_of(grid(seeds=(0, 1, 2)))
    assert lines["wall seconds"] == "70 to 72"
    assert lines["threads"] == "2"
    assert lines["seeds"] == "0, 1, 2"


def test_what_no_run_has_anything_to_say_of_has_no_line() -> None:
    """As the code of reducers of one's own, where all are of the package."""
    plain, own = record("merging"), record("mine")
    plain.provenance.update(code={}, threads=0)
    own.provenance.update(code={"mine.Reducer": "0a1b"})
    assert "code" not in (lines := origins.provenance_of([plain]))
    assert lines["threads"] == "0"
    assert origins.provenance_of([plain, own])["code"] == "mine.Reducer 0a1b"


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_the_terminal_table_fits(seeds: tuple[int, ...]) -> None:
    console = Console(width=110, file=io.StringIO(), record=True)
    summary.print_summary(grid(seeds=seeds), console)
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= 110
    for run in grid():
        assert f"{run.flops_speedup_padded:.2f}x" in text
        assert run.operating_point in text
