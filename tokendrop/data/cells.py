"""Cells of tables in files that are mapped, so that a process holds none of them.

Rows are written as they are read, into a file without a name beside the remembered tokens, and
cells are decoded when somebody asks for them. The system gives the file back when the process
ends, however it ends.
"""

from __future__ import annotations

import json
import math
import mmap
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tokendrop.data.lazy import Lazy
from tokendrop.errors import UserError

PIECE = 5000  # rows that are read, written or decoded at once

# cells that are kept decoded where they are asked for one by one
_BLOCK, _MOST_BLOCKS = 256, 8

_TAG = "\0"  # before a cell that is JSON; other cells are texts
_TEXTS = (pa.string(), pa.large_string())

Columns = list[tuple[Any, Sequence[Any]]]  # name and cells of each


class Column(Lazy[Any]):
    """The cells of one column of record batches."""

    def __init__(
        self,
        batches: Sequence[pa.RecordBatch],
        decode: Callable[[pa.RecordBatch], list[Any]],
        rows: NDArray[np.intp] | None = None,
    ) -> None:
        """
        Args:
            batches: of this column alone.
            decode: the cells of a batch.
            rows: the numbers of the rows that are meant, rising; all if not given.
        """
        self._batches, self._decode, self._rows = batches, decode, rows
        sizes = [batch.num_rows for batch in batches]
        self._starts = np.cumsum([0, *sizes])
        self._blocks: dict[int, list[Any]] = {}

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._rows is None else len(self._rows)

    def entries(self, start: int, stop: int) -> Iterator[Any]:
        if stop <= start:
            return
        rows = self._rows
        first, last = (start, stop - 1) if rows is None else (rows[start], rows[stop - 1])
        holding = np.searchsorted(self._starts, [first, last], "right") - 1
        for number in range(holding[0], holding[1] + 1):
            batch, at = self._batches[number], self._starts[number]
            if rows is None:
                low, high = max(start - at, 0), min(stop - at, batch.num_rows)
                batch = batch.slice(low, high - low)
            else:
                ends = [at, at + batch.num_rows]
                low, high = np.searchsorted(rows[start:stop], ends) + start
                batch = batch.take(pa.array(rows[low:high] - at))
            for piece in range(0, batch.num_rows, PIECE):
                yield from self._decode(batch.slice(piece, PIECE))

    def entry(self, place: int) -> Any:
        # rows that are asked for one by one lie close to each other, as those of a batch
        block, at = divmod(place, _BLOCK)
        if block not in self._blocks:
            if len(self._blocks) == _MOST_BLOCKS:
                del self._blocks[next(iter(self._blocks))]
            start = block * _BLOCK
            self._blocks[block] = list(self.entries(start, min(start + _BLOCK, len(self))))
        return self._blocks[block][at]

    def take(self, chosen: NDArray[np.intp]) -> Column:
        rows = chosen if self._rows is None else self._rows[chosen]
        return Column(self._batches, self._decode, rows)


def missing(cell: Any) -> bool:
    """Whether a cell is empty, as pandas and the Hub write it."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return cell is None or cell is pd.NA or cell is pd.NaT


# -- files without a name -------------------------------------------------------------------------


def loose(names: Sequence[Any], rows: Iterable[Sequence[Any]], folder: Path | None) -> Columns:
    """Columns of rows whose cells are anything that JSON can hold, each as it is.

    Args:
        names: of the columns.
        rows: with a cell for each column.
        folder: see :func:`mapped`.

    Raises:
        UserError: as :func:`mapped`.
        RecursionError: of lists too deep inside each other.
    """
    # names of columns need not be what Arrow takes for one
    schema = pa.schema([(str(place), pa.string()) for place in range(len(names))])
    left = iter(rows)
    pieces = iter(lambda: list(islice(left, PIECE)), [])
    batches = (
        pa.RecordBatch.from_arrays(
            [_tagged(cells) for cells in zip(*piece, strict=True)], schema=schema
        )
        for piece in pieces
    )
    table = mapped(batches, schema, folder)
    return [
        (name, Column([batch.select([place]) for batch in table.to_batches()], _untagged))
        for place, name in enumerate(names)
    ]


def _tagged(cells: Sequence[Any]) -> pa.Array:
    texts = [
        cell
        if cell is None or (isinstance(cell, str) and not cell.startswith(_TAG))
        else _TAG + json.dumps(cell)
        for cell in cells
    ]
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:  # half a character, which JSON can name
        tagged = [None if cell is None else _TAG + json.dumps(cell) for cell in cells]
        return pa.array(tagged, pa.string())


def _untagged(batch: pa.RecordBatch) -> list[Any]:
    return [
        json.loads(text[1:]) if text is not None and text.startswith(_TAG) else text
        for text in batch.column(0).to_pylist()
    ]


def columns_of(table: pa.Table) -> Columns:
    """The columns of a table as pandas would have them, with its names and kinds of cells.

    Raises:
        ValueError: what a data frame left in the file does not describe it.
    """
    empty = table.schema.empty_table().to_pandas()
    described = table.schema.pandas_metadata or {}
    index = {name for name in described.get("index_columns", ()) if isinstance(name, str)}
    places = [n for n, name in enumerate(table.schema.names) if name not in index]
    if len(places) != empty.shape[1]:
        raise ValueError("what pandas says of its columns is not what it has")
    batches = table.to_batches()
    return [
        (name, Column([batch.select([place]) for batch in batches], _decoder(table, place)))
        for name, place in zip(empty.columns.tolist(), places, strict=True)
    ]


def _decoder(table: pa.Table, place: int) -> Callable[[pa.RecordBatch], list[Any]]:
    kind = table.schema.types[place]
    if kind in _TEXTS:
        return _texts
    # pandas makes floats of integers where any cell of the column is empty
    floats = pa.types.is_integer(kind) and table.column(place).null_count > 0
    return partial(_as_pandas, floats=floats)


def _texts(batch: pa.RecordBatch) -> list[Any]:
    found: list[Any] = batch.column(0).to_pylist()
    return found


def _as_pandas(batch: pa.RecordBatch, floats: bool) -> list[Any]:
    cells: pd.Series = batch.to_pandas().iloc[:, 0]
    if floats and isinstance(cells.dtype, np.dtype) and cells.dtype.kind in "iu":
        cells = cells.astype(float)
    found: list[Any] = cells.tolist()
    return found


def mapped(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folder: Path | None) -> pa.Table:
    """The rows of record batches, in a file without a name.

    Args:
        batches: are written as they come.
        schema: of each.
        folder: where the file lies; the system's for such files if none is given.

    Raises:
        UserError: there is no room, or the folder cannot be written to.
    """
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
    except OSError as error:
        raise no_room(folder, error) from error
    try:
        writer = pa.ipc.new_stream(pa.PythonFile(file, "w"), schema)
        batch: pa.RecordBatch | None
        # what reading them raises is no error of writing
        for batch in chain(batches, [None]):
            try:
                if batch is None:
                    writer.close()
                    file.flush()
                else:
                    writer.write_batch(batch)
            except OSError as error:
                raise no_room(folder, error) from error
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    finally:
        with suppress(OSError):  # of what had no room
            file.close()
    return pa.ipc.open_stream(pa.py_buffer(content)).read_all()


def no_room(folder: Path | None, error: OSError) -> UserError:
    """What to say where the cache cannot be written to."""
    return UserError(
        f"cannot write to the cache folder {folder or tempfile.gettempdir()} "
        f"({error.strerror or error}): make room or name another with --data.cache or the "
        "environment variable TOKENDROP_CACHE"
    )
