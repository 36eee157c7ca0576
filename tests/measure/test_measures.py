"""Each measure is named once, and what records, tables and trackers know of it is the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import tokendrop
from tokendrop.compare.results.records import Record
from tokendrop.measure import measures
from tokendrop.measure.measures import MEASURES, SUMMARY, VALUE, Measure

PACKAGE = Path(tokendrop.__file__).parent


def texts(path: Path) -> Iterator[str]:
    """The texts in a module that are data, its docstrings aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def test_no_measure_is_named_outside_the_table() -> None:
    table = Path(measures.__file__)
    names = {measure.name for measure in MEASURES}
    names |= {measure.column for measure in SUMMARY if " " in measure.column}
    found = {}
    for path in sorted(set(PACKAGE.rglob("*.py")) - {table}):
        handles_measures = measures.__name__ in path.read_text(encoding="utf-8")
        # other things than the metric are called a value too, where no measure is meant
        said = names.intersection(texts(path)) - ({VALUE.name} if not handles_measures else set())
        if said:
            found[path.relative_to(PACKAGE).as_posix()] = said
    assert not found


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_record_holds_each_measure(measure: Measure) -> None:
    assert measure.name in {field.name for field in fields(Record)} | {"train_cost"}


def test_no_two_measures_are_called_the_same() -> None:
    for names in (
        [measure.name for measure in MEASURES],
        [measure.column for measure in MEASURES if measure.column],
        [measure.card for measure in MEASURES if measure.card],
        [measure.logged for measure in MEASURES if measure.logged],
    ):
        assert len(set(names)) == len(names)


def test_what_tables_show_is_explained() -> None:
    assert all(measure.column and measure.meaning for measure in SUMMARY)
