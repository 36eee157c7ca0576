"""The study's own numbers: the README says nothing that its files do not."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "docs" / "study"
NUMBER = re.compile(r"[-+]?\d+\.\d+")


PLACES = (
    "by_hand",
    "mpnet",
    "mpnet_sst2",
    "controls",
    "ablations",
    "sst2",
    "cola",
    "stsb",
    "conll2003",
)
HAND, MPNET, BASE_SST2, CONTROLS, PARTS, SST2, COLA, STSB, CONLL = (STUDY / x for x in PLACES)
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


OF_MPNET = numbers_of(MPNET / "summary.md", *MPNET.glob("*.csv"))
OF_STUDY = numbers_of(STUDY / "summary.md", STUDY / "not_reached.csv")
OF_CONTROLS = numbers_of(CONTROLS / "summary.md", CONTROLS / "lengths.csv")
OF_SST2, OF_COLA, OF_BASE_SST2 = (
    numbers_of(x / "summary.md", x / "lengths.csv") for x in (SST2, COLA, BASE_SST2)
)
OF_STSB, OF_CONLL = (numbers_of(x / "summary.md") for x in (STSB, CONLL))
TABLES = {
    STUDY: OF_STUDY
    | OF_MPNET
    | OF_BASE_SST2
    | OF_CONTROLS
    | OF_SST2
    | OF_COLA
    | OF_STSB
    | OF_CONLL,
    BASE_SST2: OF_BASE_SST2,
    SST2: OF_SST2,
    COLA: OF_COLA,
    STSB: OF_STSB,
    CONLL: OF_CONLL,
    MPNET: OF_MPNET,
    CONTROLS: OF_CONTROLS | OF_STUDY,
    PARTS: numbers_of(*(place / "summary.md" for place in OF_PARTS)),
    HAND: numbers_of(*STUDY.glob("*.md"), *HAND.glob("[!R]*.md")),
}


@pytest.mark.parametrize(
    ("place", "heading", "tables"),
    [
        (ROOT, "What we found", STUDY),
        (STUDY, FINDINGS, STUDY),
        (STUDY, "What the papers claim, and what we saw", STUDY),
        (MPNET, FINDINGS, MPNET),
        (MPNET, "Questions", MPNET),
        (BASE_SST2, FINDINGS, BASE_SST2),
        (BASE_SST2, "Questions", BASE_SST2),
        (CONTROLS, FINDINGS, CONTROLS),
        (CONTROLS, "Questions", CONTROLS),
        (SST2, FINDINGS, SST2),
        (SST2, "Questions", SST2),
        (COLA, FINDINGS, COLA),
        (COLA, "Questions", COLA),
        (STSB, FINDINGS, STSB),
        (STSB, "Questions", STSB),
        (CONLL, FINDINGS, CONLL),
        (CONLL, "Questions", CONLL),
        (PARTS, FINDINGS, PARTS),
        (HAND, FINDINGS, HAND),
    ],
)
def test_every_number_of_the_findings_stands_in_the_tables(
    place: Path, heading: str, tables: Path
) -> None:
    said = section((place / "README.md").read_text(encoding="utf-8"), heading)
    # what a paper claims is the paper's
    said = re.sub(r"^\*\*[^\n]* \*Tested\*:", "", said, flags=re.M)
    numbers = set(NUMBER.findall(said))
    assert numbers
    assert numbers <= TABLES[tables]


@pytest.mark.parametrize(
    "place", [STUDY, MPNET, BASE_SST2, CONTROLS, SST2, COLA, STSB, CONLL, HAND, *OF_PARTS]
)
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
