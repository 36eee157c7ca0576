"""Which of the places that were named the rows come from, and what lies there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokendrop.bounds import check_fields
from tokendrop.data.cells import missing
from tokendrop.data.formats import DELIMITED, torn_rows
from tokendrop.data.lazy import Made
from tokendrop.data.rows import SEVERAL, class_name, refuse_several
from tokendrop.data.sources import DEMO, Table, read_demo, read_hub
from tokendrop.errors import UserError, unknown
from tokendrop.tasks import Task

log = logging.getLogger(__name__)

_WITHHELD = {"-1", "-", ""}  # what stands for a label that nobody is told


@dataclass(frozen=True)
class Files:
    """What lies in the folder given with ``dir``, where that differs from the Hub's form.

    Attributes:
        train: file to train on.
        dev: file by which the best checkpoint is chosen; cut from train if not given.
        test: file whose scores are reported; cut from train if not given.
        text: column of the text or texts, if not as on the Hub.
        label: column of the label, if not as on the Hub.
        columns: by split, names for the columns of a CSV or TSV file without a header; columns
            of the same name are joined to one text.
        classes: name of the class behind each value of the label, in the order of the classes.
    """

    train: str
    dev: str | None = None
    test: str | None = None
    text: str | list[str] | None = None
    label: str | None = None
    columns: dict[str, list[str]] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: a value of another type, or columns of a file that is not named.
        """
        given: Any = self.classes
        if isinstance(given, dict):  # YAML has numbers where a table has their digits
            named = {str(x) if type(x) is int else x: name for x, name in given.items()}
            object.__setattr__(self, "classes", named)
        check_fields(self, "files.")
        for split in self.columns:
            if split not in self.paths:
                raise unknown("file in files.columns", split, self.paths)

    @property
    def paths(self) -> dict[str, str]:
        """The files by split."""
        given = {"train": self.train, "dev": self.dev, "test": self.test}
        return {split: path for split, path in given.items() if path}


@dataclass(frozen=True)
class Source:
    """A dataset by name, or files.

    Attributes:
        dataset: of the Hub or the demo data, None if files are read.
        paths: the files by split.
        published: how they differ from the Hub's form, None for a user's own.
    """

    dataset: str | None
    paths: dict[str, str]
    published: Files | None = None

    @classmethod
    def of(
        cls, dataset: str | None, paths: dict[str, str], folder: str | None, files: Files | None
    ) -> Source:
        """The one place that is meant.

        Args:
            dataset: named, or None.
            paths: files named, by split.
            folder: where relative paths are looked up.
            files: those of the dataset, read if there is a folder and no file is named.

        Raises:
            UserError: several places are named, or none to train on.
        """
        if dataset is not None and paths:
            raise UserError(
                f"dataset {dataset!r} and the file {next(iter(paths.values()))} are both given: "
                "use either --data.dataset or --data.train, --data.dev and --data.test"
            )
        if folder is not None and not paths:
            if files is None:
                raise UserError(
                    f"which files of {folder} to read is not known: name them with --data.train, "
                    "--data.dev and --data.test, without a dataset (--data.dataset null)"
                )
            return cls(None, _in_folder(files.paths, folder), files)
        if dataset is None and not paths and files is not None:
            raise UserError(
                "these data are not on the hub in a form that can be read: name the folder that "
                f"holds {', '.join(files.paths.values())} with --data.dir"
            )
        if dataset is None and "train" not in paths:
            raise UserError(
                "no data to train on: name a dataset with --data.dataset (rotten_tomatoes and "
                "imdb need no hub) or a file with --data.train"
            )
        return cls(dataset, paths if folder is None else _in_folder(paths, folder))

    def only(self, split: str) -> Source:
        """The file of one split in the place of the training rows, and no other."""
        return replace(self, paths={"train": self.paths[split]})

    def tables(
        self, kind: type[Task], text: Sequence[str], label: str, folder: Path
    ) -> dict[str, Table]:
        """The rows of every split there is.

        Args:
            kind: of the task.
            text: the columns of the text.
            label: the column of the label.
            folder: for the files that hold the rows, see :func:`tokendrop.data.cells.mapped`.

        Raises:
            UserError: as the readers.
        """
        if self.dataset in DEMO:
            return {"train": read_demo(self.dataset, folder)}
        if self.dataset is not None:
            found = read_hub(self.dataset, label)
            return {
                split: replace(_with_label(_with_text(table, text), label), folder=folder)
                for split, table in found.items()
            }
        tables = {split: self._table(split, kind, text, label, folder) for split in self.paths}
        tables = _reported(tables, label)
        if self.published is None:
            return tables
        classes = self.published.classes
        return {split: with_names(table, label, classes) for split, table in tables.items()}

    def _table(
        self, split: str, kind: type[Task], text: Sequence[str], label: str, folder: Path
    ) -> Table:
        path, published = self.paths[split], self.published
        if published is None:
            return kind.read_file(path, text, label, folder=folder)
        columns = published.columns.get(split)
        delimited = Path(path).suffix.lower() in DELIMITED
        if columns and not delimited:
            raise UserError(
                f"{path} has no header that files.columns.{split} could stand for: leave it out, "
                "and name the columns with --data.text and --data.label"
            )
        table = kind.read_file(path, text, label, columns, folder)
        return _without_torn(table, columns) if delimited else table


def _without_torn(table: Table, columns: Sequence[str] | None) -> Table:
    """The rows with all fields: nobody can mend a published file.

    Raises:
        UserError: none has.
    """
    count = len(columns or table.columns)
    torn = torn_rows(Path(table.place).expanduser(), count, columns is None)
    if len(torn) != len(table) or not torn.any():
        return table
    if torn.all():
        raise UserError(
            f"{table.place}: every row has fewer fields than there are columns, {count}: name as "
            "many, in its header or with --data.files.columns"
        )
    log.warning(
        "%s: %d rows with fewer fields than columns, torn by line breaks, were left out; the first "
        "is row %d",
        *(table.place, torn.sum(), torn.argmax() + 1),
    )
    return table.take(np.flatnonzero(~torn))


def _reported(tables: dict[str, Table], label: str) -> dict[str, Table]:
    """The tables with the dev rows in the place of test rows whose labels are withheld."""
    marks = {split: _labels(table, label) for split, table in tables.items()}
    test = marks.get("test", set())
    # where the training rows have one of these labels, it is a class
    if not test or not test <= _WITHHELD or test & marks["train"]:
        return tables
    dev = tables.get("dev")
    log.warning(
        "%s: all labels are withheld (%s), so %s reported",
        tables["test"].place,
        " ".join(sorted(map(repr, test))),
        "rows cut from the training rows are" if dev is None else f"{dev.place} is",
    )
    others = {split: table for split, table in tables.items() if split == "train"}
    return others if dev is None else others | {"test": dev}


def _labels(table: Table, label: str) -> set[str]:
    return {class_name(cell, None) for cell in table[label]} if label in table.called else set()


def _with_text(table: Table, columns: Sequence[str]) -> Table:
    """The rows that have a text: nobody can mend a dataset of the Hub."""
    if not set(columns) <= set(table.called):
        return table
    rows = zip(*(table[column] for column in columns), strict=True)
    blank = np.array([all(missing(c) or not str(c).strip() for c in row) for row in rows], bool)
    return _without(table, blank, "text")


def _with_label(table: Table, label: str) -> Table:
    """The rows that have a label, as SNLI's without a majority have none."""
    cells = table[label] if label in table.called else ()
    bare = [not isinstance(c, SEVERAL) and class_name(c, table.names) == "" for c in cells]
    return table if all(bare) else _without(table, np.array(bare, bool), "label")


def _without(table: Table, odd: NDArray[np.bool_], what: str) -> Table:
    if not odd.any():
        return table
    log.warning("%s: %d rows without %s were removed", table.place, odd.sum(), what)
    return table.take(np.flatnonzero(~odd))


def _in_folder(paths: dict[str, str], folder: str) -> dict[str, str]:
    return {split: str(Path(folder).expanduser() / path) for split, path in paths.items()}


def with_names(table: Table, label: str, classes: dict[str, str]) -> Table:
    """The table with class numbers for the values of its labels, and the names behind them.

    Raises:
        UserError: a value without a name, or several values in a cell.
    """
    if not classes or label not in table.called:
        return table
    refuse_several(table, label)
    names = list(dict.fromkeys(classes.values()))
    numbers = {value: names.index(name) for value, name in classes.items()}

    def value_of(cell: Any) -> str:
        return "" if missing(cell) else str(cell).strip()

    def number(cell: Any) -> str | None:
        value = value_of(cell)
        return str(numbers[value]) if value else None

    for row, value in enumerate(map(value_of, table[label]), 1):
        if value and value not in numbers:
            raise UserError(
                f"{table.place}, row {row}: {value!r} in column {label!r} is none of the labels "
                f"{', '.join(numbers)}; correct it, or name the classes with --data.files.classes"
            )
    numbered = table.with_columns([(label, Made(number, table[label]))])
    return replace(numbered, names=names)
