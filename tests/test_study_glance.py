"""The table of the study that holds all its data sets says what their own tables say."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from tests.test_study import ROOT, STUDY, section
from tokendrop.compare.report.overview import LOSES, NONE
from tokendrop.compare.report.same_budget import UNREACHED

# where each column's tables stand; of several the first one that has a method counts, and what is
# not from the main one, the study's own or else the last, gets a star
COLUMNS = {
    "MRPC": ("mrpc", ["whole_budget", "dact_budget", "ltp_budget", "", "controls"]),
    "Rotten Tomatoes": (
        "rotten_tomatoes",
        [
            *("whole_budget", "dact_budget", "ltp_budget", ""),
            *("rotten_tomatoes", "rotten_tomatoes_tokens"),
        ],
    ),
    "HateXplain": (
        "hatexplain",
        [
            *("dact_budget", "ltp_budget", ""),
            *("hatexplain_budget", "hatexplain", "hatexplain_tokens"),
        ],
    ),
    "SST-2": ("sst2", ["sst2"]),
    "CoLA": ("cola", ["whole_budget_glue", "dact_budget", "cola"]),
    "AG's News": ("ag_news", ["ag_news"]),
    "STS-B": ("stsb", ["whole_budget_glue", "dact_budget", "stsb"]),
    "CoNLL-2003": ("conll2003", ["whole_budget_news", "dact_budget", "conll2003"]),
    "XQuAD": ("squad", ["xquad"]),
    "MRPC, MPNet": ("mrpc", ["mpnet"]),
    "SST-2, MPNet": ("sst2", ["mpnet_sst2"]),
    "RTE, MPNet": ("rte", ["mpnet_rte"]),
}
METHODS = {
    "AdapLeR": "adapler",
    "PoWER-BERT": "power_bert",
    "Length-Adaptive": "length_adaptive",
    "DACT-BERT": "dact_bert",
    "LTP": "threshold_pruning",
    "merging": "token_merging",
    "entropy exit": "entropy_exit",
    "patience exit": "patience_exit",
    "PoWER-BERT and exit": "power_bert_and_exit",
    "fewer layers": "fewer_layers",
    "random drop": "random_drop",
    "truncation": "truncation",
}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def reached(place: Path, task: str) -> dict[str, str]:
    """What the tables at the same budget let a method keep up to, by its name in them."""
    tables = section((place / "summary.md").read_text(encoding="utf-8"), "At the same budget")
    (of_task,) = re.findall(rf"^### {task}\n(.*?)(?=^### |^Who beats|\Z)", tables, re.M | re.S)
    found: dict[str, str] = {}
    for line in of_task.splitlines():
        budget, method, point, *rest = [*cells(line), "", ""]
        if not re.fullmatch(r"1\.5x|2x|3x", budget):
            continue
        if point == UNREACHED:
            found.setdefault(method, NONE)
        elif rest[2].startswith(("tie", "beats")):
            found[method] = budget
        else:
            found.setdefault(method, LOSES)
    return found


def expected() -> pd.DataFrame:
    columns = {}
    for name, (task, places) in COLUMNS.items():
        column: dict[str, str] = {}
        main = "" if "" in places else places[-1]
        for place in places:
            star = "*" if place != main else ""
            own = reached(STUDY / place, task)
            column = {key: cell + star for key, cell in own.items()} | column
        columns[name] = column
    # methods none of whose trials saved enough for the smallest budget were not run
    slow = pd.read_csv(STUDY / "not_reached.csv").query("speedup == 1.5")
    names = {task: name for name, (task, places) in COLUMNS.items() if "" in places}
    for task, method in zip(slow["task"], slow["method"], strict=True):
        columns[names[task]].setdefault(method, NONE)
    table = pd.DataFrame(columns).reindex(METHODS.values()).fillna("")
    return table.set_axis(list(METHODS))


@pytest.mark.parametrize(("place", "heading"), [(STUDY, "At a glance"), (ROOT, "What we found")])
def test_the_table_of_all_data_sets_is_that_of_each(place: Path, heading: str) -> None:
    said = section((place / "README.md").read_text(encoding="utf-8"), heading)
    head, _, *rows = [cells(line) for line in said.splitlines() if line.startswith("|")]
    shown = pd.DataFrame(rows, columns=head).set_index("")
    table = expected()
    assert set(shown.index) <= set(METHODS)
    assert shown.to_dict() == table.loc[shown.index, shown.columns].to_dict()
