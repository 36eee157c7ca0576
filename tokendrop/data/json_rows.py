"""Rows of JSON: one array of objects, or an object a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tokendrop.data.cells import Columns, loose
from tokendrop.data.encoding import check_text, encoding_of, read_text
from tokendrop.errors import UserError

_INT64 = range(-(2**63), 2**63)  # larger ones stay what they are, in a data frame too


def read_json(file: Path, folder: Path | None) -> Columns:
    """The objects of a file. Lines are read one by one, an array as a whole.

    Args:
        file: what to read.
        folder: see :func:`tokendrop.data.cells.mapped`.

    Raises:
        OSError, ValueError: it cannot be read or parsed.
        UserError: one object holds all rows, or it is neither UTF-8 nor UTF-16.
    """
    check_text(file)
    start = next((line for _, line in _lines(file)), "")
    if start.lstrip().startswith("["):
        rows = _parsed(read_text(file))
        found = _Fields()
        for number, row in enumerate(rows, 1):
            found.add(row, f"entry {number}")
        return found.columns(iter(rows), folder)
    _refuse_one_object(file, start)
    found = _Fields()
    for number, line in _lines(file):
        found.add(_parsed(line, f"line {number}: "), f"line {number}")
    return found.columns((json.loads(line) for _, line in _lines(file)), folder)


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    # not splitlines(): it also breaks at characters that are allowed inside a JSON string
    with file.open(encoding=encoding_of(file)) as lines:
        yield from ((n, line.rstrip("\n")) for n, line in enumerate(lines, 1) if line.strip())


class _Fields:
    """The names that any object has, and what kinds of values they have.

    Attributes:
        kinds: of the values, by name, and how many have each.
        rows: how many objects there are.
        odd: the first row that is no object, None if there is none.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, Counter[type]] = {}
        self.rows = 0
        self.odd: str | None = None

    def add(self, row: Any, place: str) -> None:
        if not isinstance(row, dict):
            self.odd = self.odd or place
            return
        self.rows += 1
        for name, value in row.items():
            kind = object if type(value) is int and value not in _INT64 else type(value)
            self.kinds.setdefault(name, Counter())[kind] += 1

    def columns(self, rows: Iterator[dict[str, Any]], folder: Path | None) -> Columns:
        """The cells of all objects, once the fields of all are known.

        Raises:
            ValueError: one is no object, or its values lie too deep inside each other.
        """
        if self.odd is not None:
            raise ValueError(f"{self.odd} is not an object with named fields")
        names = list(self.kinds)
        floats = {name for name in names if self._are_floats(self.kinds[name])}

        def cell(row: dict[str, Any], name: str) -> Any:
            value = row.get(name)
            return float(value) if name in floats and value is not None else value

        try:
            return loose(names, ([cell(row, name) for name in names] for row in rows), folder)
        except RecursionError as error:
            raise ValueError("lists or objects lie too deep inside each other") from error

    def _are_floats(self, kinds: Counter[type]) -> bool:
        """Whether whole numbers get decimals, as in a data frame's column with others or gaps."""
        return 0 < kinds[int] < self.rows and set(kinds) <= {int, float, type(None)}


def _refuse_one_object(file: Path, start: str) -> None:
    """Say how to take the rows out of one object that holds them all.

    Args:
        file: whose rows are meant.
        start: its first line.
    """
    try:
        whole = _parsed(start)
    except ValueError:
        try:
            whole = _parsed(read_text(file))
        except ValueError:
            return
    else:
        if len(list(islice(_lines(file), 2))) > 1:
            return
    values = whole.items() if isinstance(whole, dict) else ()
    for name, value in values:
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            raise UserError(
                f"{file}: the rows lie under {name!r} of one object: write that list alone, or one "
                "object per line"
            )
    if values and all(isinstance(value, dict) for _, value in values):
        raise UserError(
            f"{file}: one object that holds columns instead of rows: write one object per row, as "
            "pandas does with to_json(orient='records')"
        )


def _parsed(text: str, place: str = "") -> Any:
    try:
        return json.loads(text, object_pairs_hook=_of_one_name_each)
    except RecursionError as error:
        raise ValueError(f"{place}lists or objects lie too deep inside each other") from error
    except ValueError as error:
        raise ValueError(f"{place}{error}") from error


def _of_one_name_each(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(fields)
    if len(named) < len(fields):
        names = [name for name, _ in fields]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has two fields called {twice!r}")
    return named
