"""How a file of each format becomes a data frame."""

from __future__ import annotations

import csv
import json
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from tokendrop.data.encoding import encoding_of, naming_the_line, read_text, separator_of
from tokendrop.errors import UserError

DELIMITED = (".csv", ".tsv", ".txt")

_FIELD = r'(?:"(?:[^"]|"")*+"|[^"\t\n]*+)'
# possessive, so that a file of another form is left at its first such field
_QUOTED = re.compile(rf"{_FIELD}(?:[\t\n]{_FIELD})*+\n?")
# a quoted field of what alone makes a writer quote it
_NEEDED = re.compile(r'(?:^|[\t\n])"(?:[^"]|"")*(?:""|\t|\n)(?:[^"]|"")*"(?:[\t\n]|$)')
_HEADER = re.compile(r'"[^"\n]+"(?:\t"[^"\n]+")*\n')


def is_quoted(content: str) -> bool:
    """Whether a file with tabs between its columns was written with quotes, as data frames do.

    GLUE's files are not: in these a lone " in a sentence would swallow the lines that follow. A
    writer of quotes puts them around every field that holds one, and doubles those inside.
    """
    if '"' not in content or not _QUOTED.fullmatch(content):
        return False
    return bool(_HEADER.match(content) or _NEEDED.search(content))


def _delimited(file: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    with naming_the_line(file), warnings.catch_warnings():
        # rows with more fields than the header: pandas would only warn and cut them
        warnings.simplefilter("error", pd.errors.ParserWarning)
        options = _form(file)
        if columns is not None:
            return pd.read_csv(file, header=None, names=range(len(columns)), **options)
        frame = pd.read_csv(file, **options)
        # pandas would give names of its own to columns that are called the same
        frame.columns = pd.read_csv(file, header=None, nrows=1, **options).iloc[0].tolist()
        return frame


def torn_rows(file: Path, columns: int, header: bool) -> list[bool]:
    """Which rows of a file with tabs and no quotes have fewer fields than there are columns.

    Args:
        file: of :data:`DELIMITED`.
        columns: how many there are.
        header: whether the first line names them.
    """
    content = read_text(file)
    # pandas does not count these lines either
    lines = [line for line in content.split("\n") if line.strip(" ")][header:]
    if file.suffix.lower() == ".csv" or is_quoted(content):
        return [False] * len(lines)
    return [line.count("\t") + 1 < columns for line in lines]


def _form(file: Path) -> dict[str, Any]:
    """How pandas reads a file of columns."""
    encoding, commas = encoding_of(file), file.suffix.lower() == ".csv"
    quoted = commas or is_quoted(read_text(file))
    return {
        "sep": separator_of(file, encoding) if commas else "\t",
        "quoting": csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        "dtype": str,
        "keep_default_na": False,  # "null" and "NA" are words
        "index_col": False,
        "encoding": encoding,
    }


def read_named(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV or TSV file without a header.

    Args:
        file: what to read.
        columns: names for its columns; those of one name are joined by a space.

    Raises:
        OSError, ValueError, pandas.errors.ParserWarning: it cannot be read or parsed.
        UserError: it is neither UTF-8 nor UTF-16.
    """
    frame = _delimited(file, columns)
    named: dict[str, pd.Series] = {}
    for place, name in enumerate(columns):
        column = frame[place]
        named[name] = named[name].str.cat(column, sep=" ") if name in named else column
    return pd.DataFrame(named)


def _json(file: Path) -> pd.DataFrame:
    content = read_text(file)
    if content.lstrip().startswith("["):
        rows = _parsed(content)
        places = [f"entry {number}" for number in range(1, len(rows) + 1)]
    else:
        _refuse_one_object(content, file)
        # not splitlines(): it also breaks at characters that are allowed inside a JSON string
        lines = [(n, line) for n, line in enumerate(content.split("\n"), 1) if line.strip()]
        rows = [_parsed(line, f"line {number}: ") for number, line in lines]
        places = [f"line {number}" for number, _ in lines]
    for place, row in zip(places, rows, strict=True):
        if not isinstance(row, dict):
            raise ValueError(f"{place} is not an object with named fields")
    try:
        return pd.DataFrame(rows)
    except UnicodeEncodeError:  # half a character, of which the reader of its column tells the row
        return pd.DataFrame(rows, dtype=object)


def _refuse_one_object(content: str, file: Path) -> None:
    """Say how to take the rows out of one object that holds them all."""
    try:
        whole = _parsed(content)
    except ValueError:
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


def _parquet(file: Path) -> pd.DataFrame:
    table = pq.read_table(file)
    table.validate(full=True)  # else bytes that are no UTF-8 show when a cell is read
    frame: pd.DataFrame = table.to_pandas()
    return frame


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    **dict.fromkeys(DELIMITED, _delimited),
    ".json": _json,
    ".jsonl": _json,
    ".parquet": _parquet,
}
