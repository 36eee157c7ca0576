"""How a file of each format becomes columns of cells, a piece at a time."""

from __future__ import annotations

import csv
import mmap
import os
import re
import warnings
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tokendrop.data import cells
from tokendrop.data.cells import Columns, columns_of, mapped
from tokendrop.data.encoding import (
    check_text,
    encoding_of,
    naming_the_line,
    read_text,
    refuse_packed,
    separator_of,
    start_of,
)
from tokendrop.data.json_rows import read_json

DELIMITED = (".csv", ".tsv", ".txt")

_END = rb"(?:\r\n?|\n)"
_FIELD = rb'(?:"(?:[^"]|"")*+"|[^"\t\r\n]*+)'
# possessive, so that a file of another form is left at its first such field
_QUOTED = re.compile(rb"%b(?:(?:\t|%b)%b)*+%b?" % (_FIELD, _END, _FIELD, _END))
# a quoted field of what alone makes a writer quote it
_NEEDED = re.compile(rb'(?:^|[\t\r\n])"(?:[^"]|"")*(?:""|[\t\r\n])(?:[^"]|"")*"(?:[\t\r\n]|$)')
_HEADER = re.compile(rb'"[^"\r\n]+"(?:\t"[^"\r\n]+")*[\r\n]')


def is_quoted(content: bytes | memoryview) -> bool:
    """Whether a file with tabs between its columns was written with quotes, as data frames do.

    GLUE's files are not: in these a lone " in a sentence would swallow the lines that follow. A
    writer of quotes puts them around every field that holds one, and doubles those inside.
    """
    if not re.search(b'"', content) or not _QUOTED.fullmatch(content):
        return False
    return bool(_HEADER.match(content) or _NEEDED.search(content))


def _tabs_quoted(file: Path) -> bool:
    """See :func:`is_quoted`.

    Raises:
        UserError, UnicodeDecodeError: as :func:`read_text`.
    """
    check_text(file)
    if encoding_of(file) == "utf-16":
        return is_quoted(read_text(file).encode())
    with file.open("rb") as raw:
        if not os.fstat(raw.fileno()).st_size:
            return False
        with (
            mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content,
            memoryview(content) as whole,
            whole[3 * (content[:3] == BOM_UTF8) :] as text,
        ):
            return is_quoted(text)


def read_delimited(file: Path, folder: Path | None, names: Sequence[str] | None = None) -> Columns:
    """A CSV or TSV file.

    Args:
        file: what to read.
        folder: see :func:`mapped`.
        names: for the columns of a file without a header; those of one name are joined by a space.

    Raises:
        OSError, ValueError: it cannot be read or parsed.
        UserError: it is neither UTF-8 nor UTF-16.
    """
    with naming_the_line(file), _refusing_more_fields():
        options = _form(file)
        header: dict[str, Any] = (
            {} if names is None else {"header": None, "names": range(len(names))}
        )
        with pd.read_csv(file, chunksize=cells.PIECE, **header, **options) as pieces:
            frames = pieces if names is None else (_joined(piece, names) for piece in pieces)
            first = next(frames)
            kinds = pa.schema([(str(place), pa.string()) for place in range(first.shape[1])])
            batches = (_batch(frame, kinds) for frame in chain([first], frames))
            table = mapped(batches, kinds, folder)
        # pandas would give names of its own to columns that are called the same
        called = (
            pd.read_csv(file, header=None, nrows=1, **options).iloc[0].tolist()
            if names is None
            else list(first.columns)
        )
    return [(name, column) for name, (_, column) in zip(called, columns_of(table), strict=True)]


@contextmanager
def _refusing_more_fields() -> Iterator[None]:
    """Refuse rows with more fields than the header, which pandas would only warn of and cut.

    Raises:
        ValueError: they have.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except pd.errors.ParserWarning as error:
        raise ValueError(
            "its rows have more fields than its header; name every column, and put quotes around "
            "a text that holds the separator"
        ) from error


def _batch(frame: pd.DataFrame, kinds: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pandas(frame.set_axis(kinds.names, axis=1), kinds, False)


def _joined(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    named: dict[str, pd.Series] = {}
    for place, name in enumerate(names):
        column = frame[place]
        named[name] = named[name].str.cat(column, sep=" ") if name in named else column
    return pd.DataFrame(named)


def torn_rows(file: Path, columns: int, header: bool) -> NDArray[np.bool_]:
    """Which rows of a file with tabs and no quotes have fewer fields than there are columns.

    Args:
        file: of :data:`DELIMITED`.
        columns: how many there are.
        header: whether the first line names them.
    """
    whole = file.suffix.lower() == ".csv" or _tabs_quoted(file)
    with file.open(encoding=encoding_of(file)) as lines:
        # pandas does not count blank lines either
        torn = [
            not whole and line.count("\t") + 1 < columns
            for line in lines
            if line.rstrip("\n").strip(" ")
        ]
    return np.array(torn[header:], bool)


def _form(file: Path) -> dict[str, Any]:
    """How pandas reads a file of columns."""
    encoding, commas = encoding_of(file), file.suffix.lower() == ".csv"
    quoted = commas or _tabs_quoted(file)
    return {
        "sep": separator_of(file, encoding) if commas else "\t",
        "quoting": csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
        "dtype": str,
        "keep_default_na": False,  # "null" and "NA" are words
        "index_col": False,
        "encoding": encoding,
    }


def _parquet(file: Path, folder: Path | None) -> Columns:
    refuse_packed(start_of(file), file)
    # mapped itself, so that of a group of rows only the pages that are decoded are in memory
    with pq.ParquetFile(file, memory_map=True) as parquet:
        found = parquet.schema_arrow
        kinds = [field.with_type(_without_views(field.type)) for field in found]
        schema = pa.schema(kinds, found.metadata)
        return columns_of(mapped(_checked(parquet, schema), schema, folder))


def _checked(parquet: pq.ParquetFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in parquet.iter_batches(cells.PIECE):
        batch.validate(full=True)  # else bytes that are no UTF-8 show when a cell is read
        batch = batch.cast(schema)
        batch.to_pandas()  # as do times that are too long ago
        yield batch


def _without_views(kind: pa.DataType) -> pa.DataType:
    """A type for the same cells whose rows can be picked, which those of Arrow's views cannot."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.large_list(_without_views(kind.value_type))
    return kind


READERS: dict[str, Callable[[Path, Path | None], Columns]] = {
    **dict.fromkeys(DELIMITED, read_delimited),
    ".json": read_json,
    ".jsonl": read_json,
    ".parquet": _parquet,
}
