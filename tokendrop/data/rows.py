"""Checked rows of a task: texts and labels, each knowing where it came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tokendrop.data.encoding import half_a_character
from tokendrop.data.sources import Table, check_columns
from tokendrop.data.split import Rationale
from tokendrop.errors import UserError

# of a cell with several labels; the first two are how JSON and Parquet files are read
_SEVERAL = (list, np.ndarray, dict, tuple, set)
_LARGEST = float(np.finfo(np.float32).max)  # of a number that models can answer with


@dataclass(frozen=True)
class Rows:
    """Examples of a task.

    Attributes:
        texts: a text or a pair of texts for each row.
        labels: of each row its class name (str), its number (float), its words with their tags
            (Sentence), or the question that it asks (Question).
        numbers: the 1-based number of each row in its place; a header is not counted.
        place: the file or dataset the rows came from.
        rationales: why people gave each row its label, None if nobody was asked.
        names: the names of classes or tags in each row, empty where answers have none.
        stratified: whether a part cut off has the labels in the proportions of the whole.
        shared: which text of each row others may share, and must not lie in two splits with; None
            if rows belong together only where all their texts are the same.
        relation: how a message says that rows belong to others.
    """

    texts: list[tuple[str, ...]]
    labels: list[Any]
    numbers: list[int]
    place: str
    _: KW_ONLY
    rationales: list[Rationale] | None = None
    names: list[list[str]] = field(default_factory=list)
    stratified: bool = False
    shared: int | None = None
    relation: str = "rows"

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> Rows:
        """These rows, in their original order."""
        chosen = sorted(indices)
        return replace(
            self,
            texts=[self.texts[i] for i in chosen],
            labels=[self.labels[i] for i in chosen],
            numbers=[self.numbers[i] for i in chosen],
            rationales=self.rationales and [self.rationales[i] for i in chosen],
            names=self.names and [self.names[i] for i in chosen],
        )

    @cached_property
    def normalised(self) -> list[str]:
        """By which two rows are the same: their texts but for case and white space."""
        return [
            "\x1f".join(" ".join(text.split()).casefold() for text in texts) for texts in self.texts
        ]

    @cached_property
    def groups(self) -> list[str]:
        """Rows of one group must not lie in two splits: the same text, or the same paragraph."""
        if self.shared is None:
            return self.normalised
        return [key.split("\x1f")[self.shared] for key in self.normalised]


def read_classes(table: Table, text: Sequence[str], label: str) -> Rows:
    """Texts with a class each.

    Raises:
        UserError: a column is missing, the table is empty, or a row has no text, no label, or
            several labels.
    """
    texts, numbers = read_texts(table, text, label), list(range(1, len(table.frame) + 1))
    refuse_several(table, label)
    labels = [class_name(value, table.names) for value in table.frame[label].tolist()]
    for number, name in enumerate(labels, 1):
        if half := half_a_character(name):
            refuse(
                [number], table.place, f"{half} of the label in {_columns([label])}", "correct it"
            )
    _refuse_unlabelled([name == "" for name in labels], table.place, label)
    names = [[name] for name in labels]
    return Rows(texts, labels, numbers, table.place, names=names, stratified=True)


def read_numbers(table: Table, text: Sequence[str], label: str) -> Rows:
    """Texts with a number each.

    Raises:
        UserError: as :func:`read_classes`, or a label that is no number.
    """
    texts, numbers = read_texts(table, text, label), list(range(1, len(table.frame) + 1))
    refuse_several(table, label)
    cells = table.frame[label].tolist()
    _refuse_unlabelled([missing(cell) or cell == "" for cell in cells], table.place, label)
    labels = [_number(cell, label, row, table.place) for row, cell in enumerate(cells, 1)]
    return Rows(texts, labels, numbers, table.place)


def read_texts(table: Table, text: Sequence[str], label: str) -> list[tuple[str, ...]]:
    """A text or a pair of texts for each row of a table that also has a column ``label``.

    Raises:
        UserError: a column is missing, the table is empty, or a row has no text.
    """
    check_columns(table, list(text), "text")
    check_columns(table, [label], "label")
    columns = [table.frame[name].tolist() for name in text]
    texts = [
        tuple(
            _text(value, name, number, table.place) for name, value in zip(text, row, strict=True)
        )
        for number, row in enumerate(zip(*columns, strict=True), 1)
    ]
    if not texts:
        raise UserError(f"{table.place}: no rows; give a file with at least one")
    blank = [n for n, row in enumerate(texts, 1) if not any(part.strip() for part in row)]
    refuse(blank, table.place, f"empty text in {_columns(text)}", "fill it in or remove the row")
    return texts


def _refuse_unlabelled(bare: list[bool], place: str, label: str) -> None:
    rows = [number for number, is_bare in enumerate(bare, 1) if is_bare]
    refuse(rows, place, f"no label in {_columns([label])}", "label the row or remove it")


def refuse_several(table: Table, label: str) -> None:
    """Refuse cells that hold several labels, if there are any.

    Raises:
        UserError: there are.
    """
    cells = table.frame[label].tolist()
    several = [number for number, cell in enumerate(cells, 1) if isinstance(cell, _SEVERAL)]
    if several:
        cell = cells[several[0] - 1]
        shown = " ".join(str(cell).split())[:60]
        what = f"column {label!r} holds a {type(cell).__name__}, {shown}: that is multi-label"
        cure = "give each row one label, or choose another column with --data.label"
        refuse(several, table.place, what, cure)


def refuse(numbers: list[int], place: str, what: str, cure: str) -> None:
    """Name the first of the rows that cannot be used, if there are any.

    Raises:
        UserError: there are.
    """
    if numbers:
        more = f" ({len(numbers)} such rows in all)" if len(numbers) > 1 else ""
        raise UserError(f"{place}, row {numbers[0]}: {what}{more}; {cure}")


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' * (len(names) > 1)} {' and '.join(map(repr, names))}"


def _text(value: Any, column: str, number: int, place: str) -> str:
    if missing(value):
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, np.ndarray)) and all(isinstance(word, str) for word in value):
        value = " ".join(value)
    at = f"{place}, row {number}: column {column!r} holds"
    if not isinstance(value, str):
        raise UserError(
            f"{at} a {type(value).__name__}, not a text; choose another with --data.text"
        )
    if half := half_a_character(value):
        raise UserError(f"{at} {half} of the text; correct it")
    return value


def _number(value: Any, column: str, row: int, place: str) -> float:
    try:
        # Python takes the _ of 1_000, other readers of the file do not
        number = math.nan if isinstance(value, str) and "_" in value else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST:
        raise UserError(
            f"{place}, row {row}: {value!r} in column {column!r} is not a number; correct it, or "
            "choose the column with --data.label"
        )
    return number


def class_name(value: Any, names: list[str] | None) -> str:
    """The class name of a cell, "" if it has none."""
    if missing(value):
        return ""
    if isinstance(value, bytes):
        value = value.decode(errors="surrogateescape")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas makes floats of integers beside a missing cell
    name = str(value).strip()
    if names is None:
        return name
    # -1 is how the Hub writes "withheld"
    return names[int(name)] if name.isdecimal() and int(name) < len(names) else ""


def missing(value: Any) -> bool:
    """Whether a cell is empty, as pandas and the Hub write it."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
