"""Panels that runs save files for: calibration, exits, kinds of tokens, texts; and intervals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup

from tests.compare.report.test_report import read
from tests.compare.synthetic import grid, record
from tests.compare.synthetic import saved as answered
from tests.tasks.test_resampling import classes
from tokendrop.compare.report.calibration import calibrations
from tokendrop.compare.report.classes import class_scores, classes_panel
from tokendrop.compare.report.numbers import best_cells, page_tables
from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.panel import Findings, Panel
from tokendrop.compare.report.panels import PANELS
from tokendrop.compare.report.passes import passes
from tokendrop.compare.report.tables import display_frame
from tokendrop.compare.report.tokens import token_panels
from tokendrop.compare.results.analysis import NOTHING, analyse
from tokendrop.compare.results.fates import Fates, Sample, write_fates
from tokendrop.compare.results.points import points
from tokendrop.compare.results.records import Record
from tokendrop.errors import UserError
from tokendrop.measure.measures import TRAIN_SECONDS

WORDS = [" [CLS]", " a", " slow", " film", " [SEP]"]
OWN = {"Where rows left", "Which tokens die where", "What is left of a text", "Calibration"}


def saved(folder: Path, run: Record, *, exits: bool, drops: bool, classes: bool) -> Record:
    """The record with files beside it: 10 rows, 2 layers."""
    depth = [2, 0, 1, 2, 2] if drops else [2] * 5
    samples = [Sample("good", "bad <b>", WORDS, depth, 2, 5)]
    dropped = {"content word": [3, 1, 16] if drops else [0, 0, 20]}
    lengths = list(range(101, 111))
    fates = Fates(2, [0, 4, 6] if exits else [0, 0, 10], dropped, samples, lengths)
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


def test_answers_that_are_sure_are_of_the_last_bin(tmp_path: Path) -> None:
    # all five at 0.92 are right, and four of the five at 1: one bin of 10 rows, 9 of them right
    sure = pd.DataFrame({"bad": [0.92] * 5 + [1.0] * 5, "good": [0.08] * 5 + [0.0] * 5})
    sure.insert(0, "label", ["bad"] * 9 + ["good"])
    sure["score"] = [1.0] * 9 + [0.0]
    sure.to_csv(tmp_path / "a.csv", index_label="example")
    (one,) = calibrations([record(value=0.9, predictions_file="a.csv")], tmp_path)
    assert one.error == pytest.approx(0.96 - 0.9)
    assert one.stated == pytest.approx([0.96])


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
    assert set(frames) == {"fronts", "passes", "exits", "kinds", "calibration"}
    exits = frames["exits"]
    assert list(exits["layers"]) == [1, 2, 1, 2]
    assert list(exits["rows"]) == [40, 60, 40, 60]
    assert list(frames["kinds"]["left"]) == [85, 80, 85, 80]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("predictions_file", "fates_file"):
        with pytest.raises(UserError, match=r"lost is missing.* copy the whole folder"):
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


def test_tables_to_paste_have_no_sign_that_means_another_thing_there(tmp_path: Path) -> None:
    runs = [answered(tmp_path, "dense", [1] * 40, task="r&d_1")]
    # no clock of the two can be told from 1
    for method in ("m", "n"):
        runs.append(answered(tmp_path, method, [0] * 40, task="r&d_1", point="a|b*", clock=1.01))
    analysis = analyse(runs, [], tmp_path)
    (table,) = page_tables(runs, analysis.statistics)
    assert r"$\approx$1.01x $\pm$0.02" in table.latex
    assert "& $<$0.001 &" in table.latex
    assert r"\caption{accuracy on r\&d\_1, test split}" in table.latex
    assert not set("<>|≈±") & set(re.sub(r"\$.*?\$", "", table.latex))
    assert r"| a\|b\*" in table.markdown
    assert "**≈" not in table.markdown


def test_intervals_enter_the_table_and_the_verdict(tmp_path: Path) -> None:
    runs = [answered(tmp_path, "dense", [1] * 36 + [0] * 4)]
    runs.append(answered(tmp_path, "m", [1] * 8 + [0] * 32, flops=2))
    runs.append(answered(tmp_path, "n", [1] * 36 + [0] * 4, flops=2))
    found = analyse(runs, [], tmp_path)
    page = write_report(tmp_path, runs, analysis=found).path.read_text(encoding="utf-8")
    said = found.statistics["reviews", "m", "p"].difference
    assert said is not None
    interval = f"{100 * said.low:+.2f} to {100 * said.high:+.2f}"
    for cell in (interval, "&lt;0.001", "does not reach it"):
        assert f">{cell}<" in page
    for cell in ("loses -70.00", "tie +0.00", "beats +70.00"):
        assert f">{cell}<" in page
    assert "n cannot be told from dense; m loses 70.0 points" in page
    # on a phone each cell says what it is, for there the head of a table has no room
    for table in re.findall(r"<table.*?</table>", page, re.S):
        assert re.match(r'<table class="(cards|heat)">', table)
        assert all("data-label=" in cell for cell in re.findall("<td[^>]*>", table))


def test_scores_by_class_are_those_of_a_hand(tmp_path: Path) -> None:
    right, said = [0, 0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 0, 2, 2]
    runs = []
    for seed in (0, 1):
        classes(right, said, 3).to_csv(tmp_path / f"{seed}.csv", index_label="example")
        runs.append(record(seed=seed, predictions_file=f"{seed}.csv"))
    (point,) = points(runs)
    scores = class_scores(point, tmp_path)
    assert [one.support for one in scores] == [4, 2, 2]
    assert [one.recall for one in scores] == pytest.approx([75, 50, 100])
    assert [one.precision for one in scores] == pytest.approx([75, 50, 100])
    assert scores[1].answered == pytest.approx([50, 50, 0])
    (panel,) = classes_panel(Findings(tmp_path, runs, NOTHING))
    assert "1 class 0" in panel.below
    answered(tmp_path, "two", [1, 0])
    two = [record("two", predictions_file="predictions/two-p-0.csv")]
    assert not list(classes_panel(Findings(tmp_path, two, NOTHING)))


def test_of_a_class_without_rows_nothing_is_said(tmp_path: Path) -> None:
    # the last class is not in the test split, and the one before is never answered
    classes([0, 0, 1, 2], [0, 1, 1, 0], 4).to_csv(tmp_path / "a.csv", index_label="example")
    runs = [record(predictions_file="a.csv")]
    scores = class_scores(points(runs)[0], tmp_path)
    assert [one.recall for one in scores] == pytest.approx([50, 100, 0, np.nan], nan_ok=True)
    assert [one.precision for one in scores] == pytest.approx([50, 50, *[np.nan] * 2], nan_ok=True)
    assert [one.f1 for one in scores] == pytest.approx([50, 200 / 3, 0, np.nan], nan_ok=True)
    (panel,) = classes_panel(Findings(tmp_path, runs, NOTHING))
    assert "nan" not in panel.below
    assert '<td data-label="Recall"></td><td data-label="F1"></td><td data-label="Rows">0</td>' in (
        panel.below
    )


def read_by(
    folder: Path, method: str, answers: Sequence[str], text: str = "text{}", **fields: object
) -> Record:
    """A run that saved texts, all of which are good."""
    samples = [
        Sample("good", answer, [" [CLS]", f" {text.format(i)}", " [SEP]"], [2, 1, 2], 2, 3)
        for i, answer in enumerate(answers)
    ]
    write_fates(folder / f"{method}.json", Fates(2, [0, 0, 9], {}, samples))
    return record(method, "p", fates_file=f"{method}.json", **fields)


def test_texts_on_which_dense_and_a_method_disagree(tmp_path: Path) -> None:
    runs = [
        read_by(tmp_path, "dense", ["good", "bad", "good", "bad"]),
        read_by(tmp_path, "m", ["bad", "good", "good", "bad"]),
    ]
    panels = {panel.name: panel for panel in token_panels(Findings(tmp_path, runs, NOTHING))}
    shown = panels["disagreements"].below
    assert {f"text{i}" for i in range(4) if f"text{i}" in shown} == {"text0", "text1"}
    assert "m (p), answers bad" in shown
    assert "dense, answers bad" in shown
    alike = [runs[0], read_by(tmp_path, "n", ["good", "bad", "good", "bad"])]
    names = {panel.name for panel in token_panels(Findings(tmp_path, alike, NOTHING))}
    assert "disagreements" not in names


def test_texts_that_begin_alike_are_not_taken_for_one(tmp_path: Path) -> None:
    runs = [
        read_by(tmp_path, "dense", ["good", "bad", "good"], "long"),
        read_by(tmp_path, "m", ["good", "bad", "bad"], "long"),
        read_by(tmp_path, "n", ["good", "bad", "good"], "long"),
    ]
    panels = {panel.name: panel for panel in token_panels(Findings(tmp_path, runs, NOTHING))}
    assert panels["samples"].below.count("<summary>") == 3
    assert panels["samples"].below.count("m (p), answers bad") == 2
    # the last one alone is answered in two ways
    assert panels["disagreements"].below.count("<summary>") == 1
    assert panels["disagreements"].below.count("answers") == 2


def test_absolute_figures_are_per_row() -> None:
    timing = record().timing | {"batch32": record().timing["batch32"] | {"peak_mib": {"method": 3}}}
    old, new = passes([record()])[-1], passes([record("m", "p", clock=2, timing=timing)])
    assert old.figures["batch32_ms"] == pytest.approx(1000 * 0.1 / 256)
    assert old.figures["batch1_rows"] == pytest.approx(32 / 0.01)
    assert old.figures["peak_mib"] is None
    assert [one.name for one in new] == [
        "plain Hugging Face model, padded",
        "packed encoder, nothing dropped",
        "m (p)",
    ]
    assert [one.figures["peak_mib"] for one in new] == [None, None, 3]
