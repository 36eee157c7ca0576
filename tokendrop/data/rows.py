"""Checked rows of a task: texts and class names, each knowing where it came from."""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import pandas as pd

from tokendrop.data.sources import Table, check_columns
from tokendrop.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Examples of text classification.

    Attributes:
        texts: a text or a pair of texts for each row.
        labels: the class name of each row.
        numbers: the 1-based number of each row in its place; a header is not counted.
        place: the file or dataset the rows came from.
    """

    texts: list[tuple[str, ...]]
    labels: list[str]
    numbers: list[int]
    place: str

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Iterable[int]) -> Rows:
        """These rows, in their original order."""
        chosen = sorted(indices)
        return Rows(
            [self.texts[i] for i in chosen],
            [self.labels[i] for i in chosen],
            [self.numbers[i] for i in chosen],
            self.place,
        )

    @cached_property
    def normalised(self) -> list[str]:
        """By which two rows are the same: their texts but for case and white space."""
        return [
            "\x1f".join(" ".join(text.split()).casefold() for text in texts) for texts in self.texts
        ]


def read_rows(table: Table, text: Sequence[str], label: str) -> Rows:
    """The rows of a table, checked.

    Raises:
        UserError: a column is missing, the table is empty, or a row has no text or no label.
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
    labels = [_label(value, table.names) for value in table.frame[label].tolist()]
    if not texts:
        raise UserError(f"{table.place}: no rows; give a file with at least one")
    blank = [n for n, row in enumerate(texts, 1) if not any(part.strip() for part in row)]
    _refuse(blank, table.place, f"empty text in {_columns(text)}", "fill it in or remove the row")
    bare = [number for number, name in enumerate(labels, 1) if name == ""]
    _refuse(bare, table.place, f"no label in {_columns([label])}", "label the row or remove it")
    return Rows(texts, labels, list(range(1, len(texts) + 1)), table.place)


def _refuse(numbers: list[int], place: str, what: str, cure: str) -> None:
    if numbers:
        more = f" ({len(numbers)} such rows in all)" if len(numbers) > 1 else ""
        raise UserError(f"{place}, row {numbers[0]}: {what}{more}; {cure}")


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' * (len(names) > 1)} {' and '.join(map(repr, names))}"


def _text(value: Any, column: str, number: int, place: str) -> str:
    if isinstance(value, str):
        return value
    if _missing(value):
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    raise UserError(
        f"{place}, row {number}: column {column!r} holds a {type(value).__name__}, not a text; "
        "choose another with --data.text"
    )


def _label(value: Any, names: list[str] | None) -> str:
    """The class name of a cell, "" if it has none."""
    if _missing(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # pandas makes floats of integers beside a missing cell
    name = str(value).strip()
    if names is None:
        return name
    # -1 is how the Hub writes "withheld"
    return names[int(name)] if name.isdigit() and int(name) < len(names) else ""


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def class_names(splits: dict[str, Rows], declared: list[str] | None) -> list[str]:
    """The classes of the training rows: as declared, else numbers by value, else by alphabet.

    Raises:
        UserError: fewer than two classes, or dev or test rows of a class never trained on.
    """
    train = splits["train"]
    seen = set(train.labels)
    if len(seen) < 2:
        raise UserError(
            f"{train.place}: every training row has the label {train.labels[0]!r}; "
            "classification needs at least 2 classes, choose the column with --data.label"
        )
    numeric = all(re.fullmatch(r"[+-]?\d+", name) for name in seen)
    known = declared or sorted(seen, key=lambda name: (int(name) if numeric else 0, name))
    for rows in (splits["dev"], splits["test"]):
        for number, name in zip(rows.numbers, rows.labels, strict=True):
            if name not in seen:
                listed = [label for label in known if label in seen]
                raise UserError(
                    f"{rows.place}, row {number}: label {name!r} does not occur in the training "
                    f"rows; known are {', '.join(listed[:20])}{', ...' * (len(listed) > 20)}: "
                    "correct or remove the row, or add such rows to the training data"
                )
    return known


def make_splits(
    given: dict[str, Rows], dev_fraction: float, test_fraction: float, seed: int
) -> dict[str, Rows]:
    """Complete given splits to train, dev and test, such that no text is trained and tested on.

    Given dev and test rows are left as they are, since published numbers are of all of them;
    train loses the rows that occur there. A missing split is cut from train, in equal
    proportions of each class, after duplicates are removed.

    Args:
        given: "train", and any of "dev" and "test".
        dev_fraction: part of the training rows to cut off, where "dev" is missing.
        test_fraction: the same for "test".
        seed: another seed cuts other rows.

    Raises:
        UserError: too few rows to leave some in each split.
    """
    train = given["train"]
    held_out = set(
        chain.from_iterable(rows.normalised for s, rows in given.items() if s != "train")
    )
    keys = train.normalised
    fresh = [i for i, key in enumerate(keys) if key not in held_out]
    if len(fresh) < len(keys):
        log.warning(
            "%s: %d of %d training rows also occur in the dev or test rows and were removed",
            *(train.place, len(keys) - len(fresh), len(keys)),
        )
    fractions = {"dev": dev_fraction, "test": test_fraction}
    missing = {name: part for name, part in fractions.items() if name not in given}
    if missing:
        distinct = list({keys[i]: i for i in reversed(fresh)}.values())
        if len(distinct) < len(fresh):
            log.info("%s: %d duplicate rows were removed", train.place, len(fresh) - len(distinct))
        fresh = distinct
    train = train.take(fresh)
    splits = dict(given)
    order = _stratified(train, seed)
    for name, part in missing.items():
        count = max(1, round(part * len(train)))
        splits[name] = train.take(order[:count])
        order = order[count:]
    if not order:
        raise UserError(
            f"{train.place}: {len(train)} distinct rows beside the dev and test rows are too few "
            "to train on; give more rows"
        )
    splits["train"] = train.take(order)
    return {name: splits[name] for name in ("train", "dev", "test")}


def limit(rows: Rows, count: int | None, seed: int) -> Rows:
    """``count`` rows drawn by the seed, all if there are not as many; in their original order."""
    return rows if count is None else rows.take(_shuffled(rows, seed)[:count])


def _shuffled(rows: Rows, seed: int) -> list[int]:
    # by a hash of the text: no library's random stream can change the splits of old results
    salted = [f"{seed} {text}".encode(errors="replace") for text in rows.normalised]
    keys = [hashlib.sha256(text).digest() for text in salted]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _stratified(rows: Rows, seed: int) -> list[int]:
    """A random order of which every stretch has the classes in the proportions of the whole."""
    classes: dict[str, list[int]] = {}
    for index in _shuffled(rows, seed):
        classes.setdefault(rows.labels[index], []).append(index)
    spread = [
        ((rank + 0.5) / len(members), label, index)
        for label, members in classes.items()
        for rank, index in enumerate(members)
    ]
    return [index for *_, index in sorted(spread)]
