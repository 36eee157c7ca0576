"""Panels that runs save files for: calibration, exits, kinds of tokens, texts; and intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from markupsafe import Markup

from tests.compare.report.test_report import read
from tests.compare.synthetic import grid, record
from tokendrop.compare.report.calibration import calibrations
from tokendrop.compare.report.numbers import best_cells
from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.panel import Findings, Panel
from tokendrop.compare.report.panels import PANELS
from tokendrop.compare.report.tables import display_frame
from tokendrop.compare.report.verdict import verdict
from tokendrop.compare.results.fates import Fates, Sample, write_fates
from tokendrop.compare.results.records import Record, points
from tokendrop.compare.results.statistics import Difference, point_statistics
from tokendrop.errors import UserError
from tokendrop.measure.measures import TRAIN_SECONDS

WORDS = [" [CLS]", " a", " slow", " film", " [SEP]"]
OWN = {"Where rows left", "Which tokens die where", "What is left of a text", "Calibration"}


def saved(folder: Path, run: Record, *, exits: bool, drops: bool, classes: bool) -> Record:
    """The record with files beside it: 10 rows, 2 layers."""
    depth = [2, 0, 1, 2, 2] if drops else [2] * 5
    samples = [Sample("good", "bad <b>", WORDS, depth, 2, 5)]
    dropped = {"content word": [3, 1, 16] if drops else [0, 0, 20]}
    fates = Fates(2, [0, 4, 6] if exits else [0, 0, 10], dropped, samples)
    write_fates(folder / f"{run.method}.json", fates)
    if classes:
        answers = {"example": range(10), "label": ["bad"] * 6 + ["good"] * 4}
        answers |= {"bad": [0.8] * 10, "good": [0.2] * 10, "score": [1.0] * 6 + [0.0] * 4}
    else:
        answers = {
            "example": range(10),
            "label": [0.5] * 10,
            "value": [0.4] * 10,
            "score": [0] * 10,
        }
    pd.DataFrame(answers).to_csv(folder / f"{run.method}.csv", index=False)
    files = {"fates_file": f"{run.method}.json", "predictions_file": f"{run.method}.csv"}
    return replace(run, **files)


def headings(folder: Path, **what: bool) -> tuple[set[str], str]:
    runs = [saved(folder, run, **what) for run in (record(), record("m", "p", flops=2))]
    page = write_report(folder, runs).path.read_text(encoding="utf-8")
    return set(read(page).headings), page


def test_every_panel_that_applies_is_shown(tmp_path: Path) -> None:
    found, page = headings(tmp_path, exits=True, drops=True, classes=True)
    assert found >= OWN
    assert "leaves after layer" not in page
    assert "bad &lt;b&gt;" in page
    assert '<span class="t d0"' in page
    # 17 of 20 are left after the first layer, 16 after the second
    assert ">85 %<" in page
    assert ">80 %<" in page
    # 60 % are right where 80 % is stated
    assert "20.0 %" in page


def test_panels_that_do_not_apply_are_left_out(tmp_path: Path) -> None:
    found, page = headings(tmp_path, exits=False, drops=False, classes=False)
    assert not found & OWN
    assert 'id="layer-' not in page


def test_only_exits(tmp_path: Path) -> None:
    found, _ = headings(tmp_path, exits=True, drops=False, classes=False)
    assert found & OWN == {"Where rows left"}


def test_calibration_error_is_the_gap_between_stated_and_right(tmp_path: Path) -> None:
    (one,) = calibrations(
        [saved(tmp_path, record(), exits=True, drops=True, classes=True)], tmp_path
    )
    assert one.error == pytest.approx(0.2, abs=1e-6)
    assert one.stated == pytest.approx([0.8])
    assert one.right == pytest.approx([0.6])


def slowest(findings: Findings) -> Iterator[Panel]:
    """A panel from outside: it says which point trained longest, if any trained."""
    trained = [point for point in points(findings.records) if point.mean(TRAIN_SECONDS)]
    if trained:
        longest = max(trained, key=lambda point: point.mean(TRAIN_SECONDS))
        yield Panel(
            name="slowest",
            title="What trained longest",
            caption="Means over seeds.",
            above=Markup("<b>{}</b>").format(longest.name),
            frame=pd.DataFrame({"point": [longest.name]}),
        )


@pytest.fixture
def with_slowest() -> Iterator[None]:
    PANELS.append(slowest)
    yield
    PANELS.remove(slowest)


@pytest.mark.usefixtures("with_slowest")
def test_a_panel_is_added_from_outside(tmp_path: Path) -> None:
    report = write_report(tmp_path, [record(), record("<m>", "p")])
    text = report.path.read_text(encoding="utf-8")
    assert read(text).headings[-2:] == ["What trained longest", "Where the numbers come from"]
    assert "<b>&lt;m&gt; (p)</b>" in text
    assert list(report.frames["slowest"]["point"]) == ["<m> (p)"]
    untrained = write_report(tmp_path, [record(stages=[], train_seconds=0.0)])
    assert "slowest" not in untrained.frames


def test_the_numbers_of_panels_are_tables(tmp_path: Path) -> None:
    runs = [record(), record("m", "p", flops=2)]
    runs = [saved(tmp_path, run, exits=True, drops=True, classes=True) for run in runs]
    frames = write_report(tmp_path, runs).frames
    assert set(frames) == {"budgets", "exits", "kinds", "calibration"}
    exits = frames["exits"]
    assert list(exits["layers"]) == [1, 2, 1, 2]
    assert list(exits["rows"]) == [40, 60, 40, 60]
    assert list(frames["kinds"]["left"]) == [85, 80, 85, 80]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("predictions_file", "fates_file"):
        with pytest.raises(UserError, match="lost"):
            write_report(tmp_path, [replace(record(), **{name: "lost"})])


def test_the_best_of_each_column_is_among_the_methods() -> None:
    runs = grid() + grid("other", shift=0.1)
    frame = display_frame(runs)
    best = best_cells(runs, frame)
    for place, (method, point) in enumerate(zip(frame["Method"], frame["Point"], strict=True)):
        if method == "dense":
            assert not best[place]
        assert ("FLOPs (unpadded)" in best[place]) == (point == "k 8")
        assert ("accuracy" in best[place]) == (point == "tau 0.05")


def test_tables_to_paste(tmp_path: Path) -> None:
    page = write_report(tmp_path, grid()).path.read_text(encoding="utf-8")
    assert r"\textbf{81.90 \%}" in page
    assert r"power\_bert" in page
    assert r"\toprule" in page
    assert "**81.90 %**" in page


def test_intervals_enter_the_table_and_the_verdict(tmp_path: Path) -> None:
    runs = [record(value=0.8), record("m", "p", value=0.795, flops=2, clock=2)]
    (known,) = point_statistics(runs[1:], tmp_path).values()
    known = replace(known, difference=Difference(-0.005, -0.012, 0.003, 0.3))
    statistics = {("reviews", "m", "p"): known}
    (_, text, doubt) = verdict(runs, statistics)
    assert "(95 % interval -1.20 to +0.30, so no difference is shown)" in text
    assert "95 % interval holds 0" in doubt
    page = write_report(tmp_path, runs, statistics=statistics).path.read_text(encoding="utf-8")
    for cell in ("-1.20 to +0.30", "0.300"):
        assert f">{cell}<" in page
