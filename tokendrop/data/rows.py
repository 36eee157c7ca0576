"""Checked rows of a task: texts and labels, each knowing where it came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokendrop.data.cells import missing
from tokendrop.data.encoding import half_a_character
from tokendrop.data.lazy import Made, taken
from tokendrop.data.sources import Table, check_columns
from tokendrop.data.split import Rationale
from tokendrop.errors import UserError

# of a cell with several labels; the first two are how JSON and Parquet files are read
SEVERAL = (list, np.ndarray, dict, tuple, set)
_LARGEST = float(np.finfo(np.float32).max)  # of a number that models can answer with


@dataclass(frozen=True)
class Rows:
    """Examples of a task.

    Attributes:
        texts: a text or a pair of texts for each row; of a file, read when they are asked for.
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

    texts: Sequence[tuple[str, ...]]
    labels: Sequence[Any]
    numbers: Sequence[int]
    place: str
    _: KW_ONLY
    rationales: Sequence[Rationale] | None = None
    names: Sequence[list[str]] = ()
    stratified: bool = False
    shared: int | None = None
    relation: str = "rows"

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int] | NDArray[np.intp]) -> Rows:
        """These rows, in their original order."""
        chosen = np.sort(np.asarray(indices, np.intp))
        return replace(
            self,
            texts=taken(self.texts, chosen),
            labels=taken(self.labels, chosen),
            numbers=taken(self.numbers, chosen),
            rationales=self.rationales and taken(self.rationales, chosen),
            names=self.names and taken(self.names, chosen),
        )

    @property
    def normalised(self) -> Iterator[str]:
        """By which two rows are the same: their texts but for case and white space."""
        for texts in self.texts:
            yield "\x1f".join(" ".join(text.split()).casefold() for text in texts)

    @property
    def groups(self) -> Iterator[str]:
        """Rows of one group must not lie in two splits: the same text, or the same paragraph."""
        if self.shared is None:
            return self.normalised
        return (key.split("\x1f")[self.shared] for key in self.normalised)


def read_classes(table: Table, text: Sequence[str], label: str) -> Rows:
    """Texts with a class each.

    Raises:
        UserError: a column is missing, the table is empty, or a row has no text, no label, or
            several labels.
    """
    texts = read_texts(table, text, label)
    refuse_several(table, label)
    # one text and one list for all rows of a class
    known: dict[str, list[str]] = {}
    names = []
    for number, value in enumerate(table[label], 1):
        name = class_name(value, table.names)
        if name not in known:
            if half := half_a_character(name):
                what = f"{half} of the label in {_columns([label])}"
                refuse([number], table.place, what, "correct it")
            known[name] = [name]
        names.append(known[name])
    labels = [name for (name,) in names]
    _refuse_unlabelled((name == "" for name in labels), table.place, label)
    numbers = range(1, len(table) + 1)
    return Rows(texts, labels, numbers, table.place, names=names, stratified=True)


def read_numbers(table: Table, text: Sequence[str], label: str) -> Rows:
    """Texts with a number each.

    Raises:
        UserError: as :func:`read_classes`, or a label that is no number.
    """
    texts = read_texts(table, text, label)
    refuse_several(table, label)
    cells = table[label]
    _refuse_unlabelled((missing(cell) or cell == "" for cell in cells), table.place, label)
    labels = [_number(cell, label, row, table.place) for row, cell in enumerate(cells, 1)]
    return Rows(texts, labels, range(1, len(table) + 1), table.place)


def read_texts(table: Table, text: Sequence[str], label: str) -> Sequence[tuple[str, ...]]:
    """A text or a pair of texts for each row of a table that also has a column ``label``.

    Raises:
        UserError: a column is missing, the table is empty, or a row has no text.
    """
    check_columns(table, list(text), "--data.text")
    check_columns(table, [label], "--data.label")
    columns = [table[name] for name in text]
    blank = []
    for number, row in enumerate(zip(*columns, strict=True), 1):
        for name, value in zip(text, row, strict=True):
            _check_text(value, name, number, table.place)
        if not any(_text(value).strip() for value in row):
            blank.append(number)
    if not len(table):
        raise UserError(f"{table.place}: no rows; give a file with at least one")
    refuse(blank, table.place, f"empty text in {_columns(text)}", "fill it in or remove the row")
    return Made(_row, *columns)


def unlabelled_texts(table: Table, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The texts of a table that are to be answered for.

    Args:
        table: as it was found.
        columns: whose texts are the parts of each, from ``--column``.

    Returns:
        the parts of each row; an empty one for a cell without a text.

    Raises:
        UserError: there is no such column, or several; later, that a cell holds no text.
    """
    check_columns(table, list(columns), "--column")
    return _checked(table, columns)


def _checked(table: Table, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for number, row in enumerate(zip(*(table[name] for name in columns), strict=True), 1):
        for name, value in zip(columns, row, strict=True):
            _check_text(value, name, number, table.place, "--column")
        yield _row(*row)


def _row(*cells: Any) -> tuple[str, ...]:
    return tuple(map(_text, cells))


def _refuse_unlabelled(bare: Iterable[bool], place: str, label: str) -> None:
    rows = [number for number, is_bare in enumerate(bare, 1) if is_bare]
    refuse(rows, place, f"no label in {_columns([label])}", "label the row or remove it")


def refuse_several(table: Table, label: str) -> None:
    """Refuse cells that hold several labels, if there are any.

    Raises:
        UserError: there are.
    """
    cells = enumerate(table[label], 1)
    several = [number for number, cell in cells if isinstance(cell, SEVERAL)]
    if several:
        cell = table[label][several[0] - 1]
        shown = " ".join(str(cell).split())[:60]
        what = f"column {label!r} holds a {type(cell).__name__}, {shown}: that is multi-label"
        cure = "give each row one label, or choose another column with --data.label"
        if len(table) == 1:
            cure += "; if these are the labels of all rows, write one object per row"
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


def _text(cell: Any) -> str:
    """The text of a cell that holds one, or its words; of another one what it looks like."""
    if isinstance(cell, str):
        return cell
    if missing(cell):
        return ""
    return " ".join(cell) if isinstance(cell, (list, np.ndarray)) else str(cell)


def _check_text(
    value: Any, column: str, number: int, place: str, option: str = "--data.text"
) -> None:
    if missing(value) or isinstance(value, (int, float)):
        return
    if isinstance(value, (list, np.ndarray)) and all(isinstance(word, str) for word in value):
        value = " ".join(value)
    at = f"{place}, row {number}: column {column!r} holds"
    if not isinstance(value, str):
        raise UserError(f"{at} a {type(value).__name__}, not a text; choose another with {option}")
    if half := half_a_character(value):
        raise UserError(f"{at} {half} of the text; correct it")


def _number(value: Any, column: str, row: int, place: str) -> float:
    try:
        # Python takes true for 1, and the _ of 1_000, which other readers of the file do not
        other = isinstance(value, bool) or (isinstance(value, str) and "_" in value)
        number = math.nan if other else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST:
        raise UserError(
            f"{place}, row {row}: {value!r:.60} in column {column!r} is not a number; correct it, "
            "or choose the column with --data.label"
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
