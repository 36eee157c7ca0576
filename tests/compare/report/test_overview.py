"""The overview of several tasks says what the tables of the tasks say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.compare.results.test_budgets import rows, swapped, three
from tests.compare.synthetic import saved
from tokendrop.compare.report.overview import TITLE, overview
from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.summary import print_summary, write_summary
from tokendrop.compare.results.analysis import analyse
from tokendrop.compare.results.records import Record


def news(folder: Path, dense: float = 0.9) -> list[Record]:
    """A second task, where what loses on the first keeps up, and the other way round."""
    of_task: dict[str, Any] = {"task": "news", "point": "q", "examples_eval": 2000}
    return [
        saved(folder, "dense", rows(dense), **of_task),
        saved(folder, "bad", swapped(rows(0.9)), flops=3.2, **of_task),
        saved(folder, "same", rows(0.6), flops=1.6, **of_task),
        saved(folder, "new", rows(0.9), flops=1.1, **of_task),
    ]


def test_the_largest_budget_without_a_loss_stands_for_a_method(tmp_path: Path) -> None:
    table = overview(analyse([*three(tmp_path), *news(tmp_path)], [], tmp_path).budgets)
    assert table.to_dict("list") == {
        "Method": ["bad", "new", "same", "slow"],
        "reviews (1,066 rows)": ["loses", "", "2x", "reaches none"],
        "news (2,000 rows)": ["3x", "reaches none", "loses", ""],
    }


def test_one_task_and_tasks_that_dense_has_not_learned_have_none(tmp_path: Path) -> None:
    assert not len(overview(analyse(three(tmp_path), [], tmp_path).budgets))
    runs = [*three(tmp_path), *news(tmp_path, dense=0.5)]
    assert not len(overview(analyse(runs, [], tmp_path).budgets))


def test_it_stands_in_summary_page_and_terminal(tmp_path: Path) -> None:
    runs = [*three(tmp_path), *news(tmp_path)]
    analysis = analyse(runs, [], tmp_path)
    summary = write_summary(tmp_path, runs, (), analysis).read_text(encoding="utf-8")
    assert f"## {TITLE}" in summary
    assert "reaches none" in summary
    page = write_report(tmp_path, runs, (), analysis)
    assert TITLE in page.path.read_text(encoding="utf-8")
    assert list(page.frames["overview"]["Method"]) == ["bad", "new", "same", "slow"]
    console = Console(width=120, record=True, file=io.StringIO())
    print_summary(runs, console, (), analysis)
    assert TITLE in console.export_text()
