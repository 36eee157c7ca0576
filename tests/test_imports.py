"""Imports point one way: no module of the package imports another that needs it."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import tokendrop

PACKAGE = Path(tokendrop.__file__).parent


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """What a file imports, for types only or inside a function too.

    A name out of a package counts as the submodule of that name, if there is one.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph() -> dict[str, set[str]]:
    """The modules of the package that each of them names in its imports.

    The packages around an imported module are left out, though Python runs them first.
    """
    known = modules()
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        wanted = (n if n in known else n.rpartition(".")[0] for n in imports(path))
        found[name] = {n for n in wanted if n in known and n != name}
    return found


def test_there_is_no_circle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle of imports: {' <- '.join(error.args[1])}") from error


def test_engine_families_and_methods_know_nothing_of_what_is_built_on_them() -> None:
    low = {"engine", "families", "reducers"}
    high = {"cli", "compare", "data", "deploy", "models", "training"}
    found = graph()
    assert low | high <= {_room(name) for name in found}
    wrong = [
        f"{name} imports {needed}"
        for name, wanted in found.items()
        if _room(name) in low and not name.startswith("tokendrop.reducers.length_adaptive.search")
        for needed in wanted
        if _room(needed) in high
    ]
    assert not wrong


def test_the_names_that_methods_elsewhere_import_are_there() -> None:
    wanted = {
        "tokendrop": "load register",
        "tokendrop.bounds": "Bounds Count Finite Natural NonNegative Positive Share",
        "tokendrop.data": "TextData",
        "tokendrop.packed": "Batch Layout row_max row_rank row_softmax row_sum top_k",
        "tokendrop.reducers.base": "Decision Encoded Group Ranking Received Reducer Setting Shape "
        "Stage StageContext Step Trace View",
        "tokendrop.testing": "check_reducer",
    }
    for module, names in wanted.items():
        found = importlib.import_module(module)
        assert [name for name in names.split() if not hasattr(found, name)] == []


def _room(name: str) -> str:
    """The part of the package that a module lies in, empty for the package itself."""
    return name.removeprefix("tokendrop").lstrip(".").partition(".")[0]
