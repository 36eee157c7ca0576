"""Imports inside the comparison point one way: from the grid to the report to the results."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tokendrop.compare as compare

ROOT = Path(compare.__file__).parent


def imported(room: str) -> set[str]:
    """The modules that a room imports from, for types too."""
    return {
        node.module
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module
    }


@pytest.mark.parametrize(
    ("room", "above"), [("results", ("report", "grid")), ("report", ("grid",))]
)
def test_no_room_imports_from_one_above_it(room: str, above: tuple[str, ...]) -> None:
    found = imported(room)
    assert any(name.startswith("tokendrop.compare.results") for name in found)
    for other in above:
        assert not [name for name in found if name.startswith(f"tokendrop.compare.{other}")]
