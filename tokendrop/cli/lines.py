"""The texts of a file that may be larger than memory, with what is left of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from tokendrop.data.encoding import LOOKED_AT, encoding_by
from tokendrop.data.names import repeated
from tokendrop.data.rows import unlabelled_texts
from tokendrop.data.sources import read_file
from tokendrop.errors import UserError
from tokendrop.tasks import kind_named

# whose lines would be taken for texts, with labels, separators and all
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
DRAWN = 100  # texts between two looks of the bar


def is_table(name: str | None) -> bool:
    """Whether a file of that name has texts in columns, and not in its lines."""
    return name is not None and Path(name).suffix.lower() in _TABLES


def text_columns(named: Sequence[str] | None, places: str, *, there: bool) -> Sequence[str]:
    """The columns that the texts of a table are in.

    Args:
        named: with --column, None for the usual one.
        places: the options that can name a table, for the message.
        there: whether one of them does.

    Raises:
        UserError: some are named and there is no table, or one is named twice.
    """
    if named and not there:
        raise UserError(f"--column {named[0]} is of a table in {places}, and none is named")
    if named and (column := repeated(named)) is not None:
        raise UserError(f"--column names {column!r} twice: name it once, or another")
    return named or ["text"]


@contextmanager
def parts_of_texts(
    name: str | None, columns: Sequence[str], *, printing: bool = True
) -> Iterator[Iterator[tuple[str, ...]]]:
    """The parts of each text of a file: its lines, cut at tabs, or the rows of a table.

    Args:
        name: of a file, as in :func:`_lines_of`, or of a CSV, TSV, JSON, JSONL or Parquet file.
        columns: of a table, whose texts are the parts.
        printing: as in :func:`_lines_of`.

    Raises:
        UserError: as :func:`_lines_of`, or a table without such a column; later, that a cell of it
            holds no text.
    """
    if name is None or not is_table(name):
        with _lines_of(name, printing=printing) as lines:
            yield (tuple(line.split("\t")) for line in lines)
        return
    _opened(name, name).close()
    table = read_file(name)
    rows = unlabelled_texts(table, columns)
    with _bar("rows", printing) as bar:
        task = bar.add_task(name, total=len(table), done=0)
        yield _drawn(rows, bar, task)


@contextmanager
def _lines_of(name: str | None, *, printing: bool = True) -> Iterator[Iterator[str]]:
    """Lines of text; a bar says what is left where a terminal shows nothing else.

    They are in UTF-8, or in UTF-16 with its mark. A line ends at a line feed, with or without a
    carriage return before it, and nowhere else: other ends of lines that Unicode knows stand inside
    of texts.

    Args:
        name: of a file, "-" for standard input, None for no lines.
        printing: whether answers go to standard output, where a bar would be in their way.

    Raises:
        UserError: it cannot be read, or is in another encoding.
    """
    if name is None:
        yield iter(())
        return
    shown = "standard input" if name == "-" else name
    with _opened(name, shown) as file, _bar("lines", printing) as bar:
        yield _counted(file, name, shown, bar)


def _bar(what: str, printing: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn(f"{{task.fields[done]:,}} {what}, left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty() or (printing and sys.stdout.isatty()),
        transient=True,
    )


def _drawn(
    rows: Iterator[tuple[str, ...]], bar: Progress, task: TaskID
) -> Iterator[tuple[str, ...]]:
    for number, row in enumerate(rows, start=1):
        if number % DRAWN == 0:
            bar.update(task, completed=number, done=number)
        yield row


def texts_of(
    file: str, columns: Sequence[str], task: str, most: int | None = None
) -> list[tuple[str, ...]]:
    """The first texts of a file for a kind of task, but for blank ones.

    Args:
        file: as in :func:`parts_of_texts`.
        columns: as there.
        task: the kind.
        most: how many are taken, all if not given.

    Raises:
        UserError: there are none, or one is no input of such a task.
    """
    with parts_of_texts(file, columns) as texts:
        there = ((n, parts) for n, parts in enumerate(texts, 1) if any(x.strip() for x in parts))
        found = list(islice(there, most))
    if not found:
        raise UserError(f"{file} holds no texts: give one per line, or a table of them")
    kind = kind_named(task)
    for number, text in found:
        if complaint := kind.complaint(text):
            raise UserError(f"{file}, {'row' if is_table(file) else 'line'} {number} {complaint}")
    return [text for _, text in found]


def _opened(name: str, shown: str) -> BufferedReader:
    standard = name == "-"
    try:
        return open(0 if standard else name, "rb", closefd=not standard)
    except OSError as error:
        raise UserError(f"cannot read the texts in {shown} ({error.strerror})") from error


def _counted(file: BufferedReader, name: str, shown: str, bar: Progress) -> Iterator[str]:
    task = bar.add_task(shown, total=os.fstat(file.fileno()).st_size or None, done=0)
    wide = encoding_by(file.peek(LOOKED_AT)[:LOOKED_AT], Path(name)) == "utf-16"
    read = 0
    for number, (size, text) in enumerate((_utf16 if wide else _utf8)(file, shown), start=1):
        read += size
        if number % DRAWN == 0:
            bar.update(task, completed=read, done=number)
        yield text.removesuffix("\n").removesuffix("\r")


def _utf8(file: BufferedReader, shown: str) -> Iterator[tuple[int, str]]:
    """Each line with its size in bytes."""
    for number, raw in enumerate(file, start=1):
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"line {number} of {shown} is not UTF-8 (byte 0x{raw[error.start]:02x}); if it is "
                "Windows-1252 or Latin-1, write it anew with iconv -f WINDOWS-1252 -t UTF-8"
            ) from error
        yield len(raw), text.removeprefix("\ufeff") if number == 1 else text


def _utf16(file: BufferedReader, shown: str) -> Iterator[tuple[int, str]]:
    """Each line with its size in bytes."""
    number = 0
    try:
        for text in TextIOWrapper(file, "utf-16", newline="\n"):
            number += 1
            yield 2 * len(text), text
    except UnicodeDecodeError as error:
        where = f" behind line {number}" if number else ""
        raise UserError(
            f"{shown} begins as UTF-16 and is not that{where} ({error.reason}): save it as UTF-8"
        ) from error
