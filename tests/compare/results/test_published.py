"""Published numbers stand beside ours, apart and with their sources."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.compare.synthetic import grid
from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.summary import write_summary
from tokendrop.compare.report.tables import summary_frame
from tokendrop.compare.results.frame import results_frame
from tokendrop.compare.results.published import published, published_frame


def test_every_number_says_where_it_is_from() -> None:
    frame = published()
    assert frame["source"].str.len().gt(20).all()
    assert frame.drop(columns=["speedup", "speedup_kind"]).notna().all(axis=None)
    assert frame["value"].between(0, 100).all()
    assert frame["speedup"].dropna().ge(1).all()
    # a speed-up without its kind would say nothing
    assert (frame["speedup_kind"] != "")[frame["speedup"].notna()].all()
    assert not frame.duplicated(["method", "task", "source"]).any()


@pytest.mark.parametrize("name", ["sst2", "SST-2", "sst_2"])
def test_tasks_match_by_name(name: str) -> None:
    frame = published_frame([name]).set_index("Method")
    assert set(frame["Task"]) == {"sst2", "glue"}
    assert frame.loc["PoWER-BERT", "Value"] == "92.1"
    assert frame.loc["PoWER-BERT", "Speed-up"] == "2.40x"
    assert "IBM/PoWER-BERT" in frame.loc["PoWER-BERT", "Source"]


def test_what_is_said_of_glue_as_a_whole_stands_beside_its_tasks() -> None:
    for task in ("RTE", "sst2", "mnli_mismatched"):
        frame = published_frame([task]).set_index("Method")
        assert frame.loc["LTP", "Speed-up"] == "2.10x"
        assert frame.loc["LTP", "Seen in"] == "abstract"
    assert "LTP" not in set(published_frame(["squad"])["Method"])


def test_a_name_within_another_is_another_task() -> None:
    assert "mnli_mismatched" not in set(published_frame(["mnli"])["Task"])
    assert published_frame(["reviews"]).empty


def test_they_are_shown_apart_and_only_for_the_tasks_that_ran(tmp_path: Path) -> None:
    runs = grid(task="qnli")
    summary = write_summary(tmp_path, runs).read_text(encoding="utf-8")
    ours, theirs = summary.split("## What others have published")
    assert "IBM/PoWER-BERT" in theirs
    assert "not comparable with our own" in theirs
    assert "90.1" not in ours
    assert "sst2" not in theirs
    page = write_report(tmp_path, runs).path.read_text(encoding="utf-8")
    before, after = page.split("<h2>What others have published</h2>")
    assert "IBM/PoWER-BERT" in after
    assert "IBM/PoWER-BERT" not in before
    # our own tables know nothing of them
    assert set(summary_frame(runs)["Method"]) == {run.method for run in runs}
    assert len(results_frame(runs)) == len(runs)


def test_where_nothing_is_published_nothing_is_said(tmp_path: Path) -> None:
    for path in (write_summary(tmp_path, grid()), write_report(tmp_path, grid()).path):
        assert "others have published" not in path.read_text(encoding="utf-8")


def test_a_missing_speed_up_is_left_empty() -> None:
    frame = published_frame(["squad"]).set_index("Method")
    assert frame.loc["DistilBERT", "Speed-up"] == ""
    assert not frame.isin(["nan", pd.NA]).any(axis=None)
