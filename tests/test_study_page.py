"""What the tools for docs/study write is what the tables and the report say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp

from tests.compare.leaderboard.test_leaderboard import comparison
from tests.test_study import STUDY, section
from tokendrop.compare.leaderboard.entries import read_entries
from tools.few_seeds import every_difference, halves
from tools.study_page import TIMES, lengths, write_page


def test_a_page_has_its_tables_its_figure_and_its_rows(tmp_path: Path) -> None:
    page = tmp_path / "study" / "reviews"
    write_page(page, [comparison(tmp_path / "runs")])
    assert "power_bert" in (page / "summary.md").read_text(encoding="utf-8")
    assert set(pd.read_csv(page / "results.csv")["method"]) == {"dense", "power_bert"}
    assert (page / "figures" / "trade_off_flops.png").read_bytes().startswith(b"\x89PNG")
    rows = read_entries(tmp_path / "study" / "leaderboard" / "reviews.csv")
    assert [row.method for row in rows] == ["dense", "power_bert"]


def test_without_the_clock_the_tables_say_all_else(tmp_path: Path) -> None:
    pages = [tmp_path / name for name in ("timed", "untimed")]
    runs = comparison(tmp_path / "runs")
    for page in pages:
        write_page(page, [runs], clock=page.name == "timed")
    timed, untimed = ((page / "summary.md").read_text(encoding="utf-8") for page in pages)
    assert "Clock" in timed
    assert not re.search("Clock|the clock of|Train s", untimed)
    tables = [line for line in untimed.splitlines() if line.startswith("|")]
    assert len(tables) == sum(line.startswith("|") for line in timed.splitlines())
    assert {cell for line in tables for cell in line.split("|")} <= {
        cell for line in timed.splitlines() for cell in line.split("|")
    }
    wide, narrow = (pd.read_csv(page / "results.csv") for page in pages)
    assert wide[narrow.columns].equals(narrow)
    assert {*wide.columns} - {*narrow.columns} == {*TIMES}


def test_lengths_are_rounded_as_the_tables_are() -> None:
    found = pd.DataFrame(
        {
            "task": ["films", "films"],
            "point": ["dense", "power_bert (2x)"],
            "tokens": ["10 tokens", "11 to 14 tokens"],
            "right": [0.8, 0.78125],
            "vs_dense": [np.nan, -0.01875],
            "low": [np.nan, -0.031],
            "high": [np.nan, 0.00004],
        }
    )
    first, second = lengths(found).to_dict("records")
    assert first["vs_dense"] == ""
    assert second == {
        "point": "power_bert (2x)",
        "tokens": "11 to 14",
        "right_percent": "78.1",
        "vs_dense": "-1.88",
        "low": "-3.10",
        "high": "+0.00",
    }


def test_seeds_alone_are_the_paired_t_test_and_examples_alone_the_interval_as_it_is() -> None:
    differences = np.array([-1.0, -2.5, -0.7])
    alone = ttest_1samp(differences, 0).confidence_interval(0.95)
    deviation = differences.std(ddof=1)
    least, most = halves(deviation, 3, half=0.1)  # no room for the examples' variance
    assert least == pytest.approx(most) == pytest.approx((alone.high - alone.low) / 2)
    # the more of the interval is the examples', the less does t change
    least, _ = halves(deviation=0.01, seeds=3, half=2.0)
    assert least < 0.1
    assert halves(0.01, 3, 2.0)[1] == pytest.approx(2.0, rel=1e-3)


def test_what_few_seeds_do_not_tell_is_of_the_tables_of_now() -> None:
    every = every_difference()
    lost = every[every["difference"].abs() < every["half_most"]].round(2).reset_index(drop=True)
    written = pd.read_csv(STUDY / "few_seeds.csv")
    pd.testing.assert_frame_equal(written, lost, check_dtype=False, atol=0.011)
    sure = int((every["difference"].abs() < every["half_least"]).sum())
    said = " ".join(
        section((STUDY / "README.md").read_text(encoding="utf-8"), "How it was made").split()
    )
    assert f"Of the {len(every)} differences over three seeds" in said
    assert f"would no longer tell {sure}, and perhaps {len(lost) - sure} more" in said
