"""The classes of labelled rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import chain

from tokendrop.data.names import DECIMAL, listed, repeated, whole
from tokendrop.data.rows import Rows
from tokendrop.errors import UserError

_MOST_NUMBERS = 20  # with decimals, that are taken for classes


def spelt_alike(given: dict[str, Rows]) -> dict[str, Rows]:
    """Rows whose classes are numbers, in dev and test as the training rows write them.

    A table that once had a gap writes 1.0, another 1.

    Args:
        given: rows with a class name each, "train" among them.
    """
    known = set(given["train"].labels)
    by_number = {whole(name): name for name in known}

    def spelt(rows: Rows) -> Rows:
        # one list for all rows of a class
        names = {
            name: [name if name in known else by_number.get(whole(name), name)]
            for name in set(rows.labels)
        }
        return replace(
            rows,
            labels=[names[label][0] for label in rows.labels],
            names=[names[label] for label in rows.labels],
        )

    return {split: spelt(rows) for split, rows in given.items()}


def _hint(seen: Iterable[str]) -> str:
    """What else may be meant where all classes are numbers."""
    if not all(map(DECIMAL.fullmatch, seen)):
        return ""
    return "; if these are amounts and no classes, use --data.task regression"


def class_names(splits: dict[str, Rows], declared: list[str] | None) -> list[str]:
    """The classes or tags of the training rows: as declared, else numbers by value, else sorted.

    Raises:
        UserError: fewer than two classes, two declared ones of one name, one number written in two
            ways, many numbers with decimals, or dev or test rows of a class never trained on.
    """
    train = splits["train"]
    if declared is not None and (twice := repeated(declared)):
        raise UserError(
            f"{train.place} declares two classes of the name {twice!r}: give each class a name of "
            "its own"
        )
    seen = set(chain.from_iterable(train.names))
    if len(seen) == 1:
        held = (splits[split] for split in ("dev", "test"))
        others = set(chain.from_iterable(name for rows in held for name in rows.names)) - seen
        cure = (
            f"the rows with {listed(sorted(others))} are all in dev or test: add more such rows"
            if others
            else "choose the column with --data.label"
        )
        raise UserError(
            f"{train.place}: every training row has the label {min(seen)!r}; "
            f"classification needs at least 2 classes, {cure}"
        )
    if twice := repeated(list(map(whole, seen))):
        raise UserError(
            f"{train.place}: the number {twice} is written in several ways among the labels: write "
            "it in one"
        )
    if (hint := _hint(seen)) and len(seen) > _MOST_NUMBERS and any("." in whole(n) for n in seen):
        raise UserError(
            f"{train.place}: {len(seen)} different numbers, such as {max(seen, key=len)}, as "
            f"classes{hint}"
        )
    numeric = all(map(DECIMAL.fullmatch, seen))
    known = declared or sorted(seen, key=lambda name: (Decimal(name) if numeric else 0, name))
    for rows in (splits["dev"], splits["test"]):
        for number, names in zip(rows.numbers, rows.names, strict=True):
            for name in set(names) - seen:
                there = listed(label for label in known if label in seen)
                raise UserError(
                    f"{rows.place}, row {number}: label {name!r} does not occur in the training "
                    f"rows; known are {there}: correct or remove the row, or add such rows to the "
                    f"training data{_hint(seen)}"
                )
    return known
