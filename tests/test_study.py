"""The study's own numbers: the README says nothing that its files do not."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "docs" / "study"
NUMBER = re.compile(r"[-+]?\d+\.\d+")


# with tables and questions of their own
OWN = [
    STUDY / name
    for name in (
        *("mpnet", "mpnet_sst2", "mpnet_rte", "controls", "rotten_tomatoes", "hatexplain"),
        *(
            "hatexplain_tokens",
            "hatexplain_budget",
            "whole_budget",
            "dact_budget",
            "ltp_budget",
            "whole_budget_glue",
            "whole_budget_news",
            "rotten_tomatoes_tokens",
            "rte",
            "sst2",
            "cola",
            "stsb",
            "conll2003",
            "ag_news",
            "xquad",
        ),
    )
]
HAND, CONTROLS, PARTS = (STUDY / name for name in ("by_hand", "controls", "ablations"))
OF_PARTS = sorted(path.parent for path in PARTS.glob("*/summary.md"))
FINDINGS = "What the numbers say"


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    assert found, heading
    return found[1]


def numbers_of(*paths: Path) -> set[str]:
    """With their signs, and without, as a sentence may say which way it goes in words."""
    found = {x for path in paths for x in NUMBER.findall(path.read_text(encoding="utf-8"))}
    return found | {x.lstrip("+-") for x in found}


def tables_of(place: Path) -> set[str]:
    beside = (path for path in place.glob("*.csv") if path.name != "results.csv")
    return numbers_of(place / "summary.md", *beside)


OF_STUDY = numbers_of(STUDY / "summary.md", STUDY / "not_reached.csv")
TABLES = {place: tables_of(place) for place in OWN}
TABLES[STUDY] = OF_STUDY.union(*TABLES.values())
TABLES |= {
    ROOT: TABLES[STUDY],
    CONTROLS: TABLES[CONTROLS] | OF_STUDY,
    PARTS: numbers_of(*(place / "summary.md" for place in OF_PARTS)),
    HAND: numbers_of(*STUDY.glob("*.md"), *HAND.glob("[!R]*.md")),
}


@pytest.mark.parametrize(
    ("place", "heading"),
    [
        (ROOT, "What we found"),
        (STUDY, "At a glance"),
        (STUDY, FINDINGS),
        (STUDY, "What the papers claim, and what we saw"),
        *((place, heading) for place in OWN for heading in (FINDINGS, "Questions")),
        (PARTS, FINDINGS),
        (HAND, FINDINGS),
    ],
)
def test_every_number_of_the_findings_stands_in_the_tables(place: Path, heading: str) -> None:
    said = section((place / "README.md").read_text(encoding="utf-8"), heading)
    # what a paper claims is the paper's
    said = re.sub(r"^\*\*[^\n]* \*Tested\*:", "", said, flags=re.M)
    numbers = set(NUMBER.findall(said))
    assert numbers
    assert numbers <= TABLES[place]


@pytest.mark.parametrize("place", [STUDY, *OWN, HAND, *OF_PARTS])
@pytest.mark.parametrize("column", ["value", "flops_speedup_unpadded"])
def test_the_summary_is_of_the_results(place: Path, column: str) -> None:
    results = pd.read_csv(place / "results.csv")
    summary = numbers_of(place / "summary.md")
    for mean in results.groupby(["task", "method", "operating_point"])[column].mean():
        assert f"{100 * mean if column == 'value' else mean:.2f}" in summary


def test_no_sentence_of_the_data_and_no_place_of_a_machine_is_kept() -> None:
    for path in STUDY.rglob("*"):
        assert path.suffix in {"", ".md", ".csv", ".png"}, path
        if path.suffix in {".md", ".csv"}:
            assert not re.search(r"(?<![\w.])/(tmp|home|work|root|Users)/", path.read_text("utf-8"))
