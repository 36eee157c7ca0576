"""The study's own numbers: the README says nothing that its files do not."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "docs" / "study"
NUMBER = re.compile(r"[-+]?\d+\.\d+")


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, heading
    return found[1]


def test_every_number_of_the_readme_stands_in_the_study() -> None:
    said = section((ROOT / "README.md").read_text(encoding="utf-8"), "What we found")
    numbers = set(NUMBER.findall(said))
    assert numbers
    study = {path.name: path.read_text(encoding="utf-8") for path in STUDY.glob("*.md")}
    assert numbers <= set(NUMBER.findall("\n".join(study.values())))


def test_every_number_of_the_findings_stands_in_the_tables() -> None:
    said = section((STUDY / "README.md").read_text(encoding="utf-8"), "What the numbers say")
    tables = "\n".join(
        path.read_text(encoding="utf-8") for path in STUDY.glob("*.md") if path.name != "README.md"
    )
    assert set(NUMBER.findall(said)) <= set(NUMBER.findall(tables))


@pytest.mark.parametrize("column", ["value", "flops_speedup_unpadded"])
def test_the_summary_is_of_the_results(column: str) -> None:
    results = pd.read_csv(STUDY / "results.csv")
    summary = (STUDY / "summary.md").read_text(encoding="utf-8")
    for _, row in results.groupby(["task", "method", "operating_point"])[column].mean().items():
        shown = f"{100 * row:.2f} %" if column == "value" else f"{row:.2f}x"
        assert shown in summary


def test_no_sentence_of_the_data_and_no_place_of_a_machine_is_kept() -> None:
    for path in STUDY.rglob("*"):
        assert path.suffix in {"", ".md", ".csv", ".png"}, path
        if path.suffix in {".md", ".csv"}:
            assert not re.search(r"(?<![\w.])/(tmp|home|work|root|Users)/", path.read_text("utf-8"))
