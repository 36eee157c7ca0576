"""Which rows are trained on, which choose the checkpoint, and which are reported."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tokendrop.data.names import in_data, listed
from tokendrop.data.rows import Rows
from tokendrop.errors import UserError

log = logging.getLogger(__name__)

Hashes = NDArray[np.uint64]
Order = NDArray[np.intp]


def make_splits(
    given: dict[str, Rows], dev_fraction: float, test_fraction: float, seed: int
) -> dict[str, Rows]:
    """Complete given splits to train, dev and test, such that no text is trained and tested on.

    Given dev and test rows are left as they are, since published numbers are of all of them;
    train loses the rows that occur there. A missing split is cut from train, in equal
    proportions of each class, after duplicates are removed. Questions about one paragraph stay
    together.

    Args:
        given: "train", and any of "dev" and "test".
        dev_fraction: part of the training rows to cut off, where "dev" is missing.
        test_fraction: the same for "test".
        seed: another seed cuts other rows.

    Raises:
        UserError: too few rows to leave some in each split.
    """
    train = given["train"]
    hashes = _hashes(train.normalised, seed)
    grouped = hashes if train.shared is None else _hashes(train.groups, seed)
    others = [_hashes(rows.groups, seed) for name, rows in given.items() if name != "train"]
    groups, held_out = np.split(_numbered(np.concatenate([grouped, *others])), [len(train)])
    del others
    fresh = np.flatnonzero(~np.isin(groups, held_out))
    if len(fresh) < len(train):
        log.warning(
            "%s: %d of %d training %s also occur in the dev or test rows and were removed",
            *(train.place, len(train) - len(fresh), len(train), train.relation),
        )
    fractions = {"dev": dev_fraction, "test": test_fraction}
    missing = {name: part for name, part in fractions.items() if name not in given}
    if missing:
        texts = (groups if train.shared is None else _numbered(hashes))[fresh]
        distinct = fresh[np.sort(np.unique(texts, return_index=True)[1])]
        if len(distinct) < len(fresh):
            log.info("%s: %d duplicate rows were removed", train.place, len(fresh) - len(distinct))
        fresh = distinct
    train, groups, order = train.take(fresh), groups[fresh], _ascending(hashes[fresh])
    splits = dict(given)
    if train.stratified:
        order = _stratified(train.labels, order)
    else:
        order = _together(grouped[fresh], order)
    del hashes, grouped
    for name, part in missing.items():
        count = max(1, round(part * len(train)))
        while count < len(order) and groups[order[count]] == groups[order[count - 1]]:
            count += 1
        splits[name] = train.take(order[:count])
        order = order[count:]
    if not len(order):
        raise UserError(
            f"{train.place}: {len(train)} distinct rows beside the dev and test rows are too few "
            "to train on; give more rows"
        )
    splits["train"] = train.take(order)
    return {name: splits[name] for name in ("train", "dev", "test")}


def one_for_all(
    rows: Rows, classes: Sequence[str], label_map: Mapping[str, str]
) -> dict[str, Rows]:
    """The same rows for every split, which may lack some of a model's classes.

    Args:
        rows: of a file.
        classes: the model's; none where its answers have no names.
        label_map: the model's names of classes by the data's, where they differ.

    Raises:
        UserError: a row has a class that the model does not know.
    """
    seen = dict.fromkeys(chain.from_iterable(rows.names))
    every = in_data(classes, list(seen), label_map)
    _refuse_unknown(rows, [name for name in seen if name not in every], classes, label_map)
    named = rows
    if rows.names:
        named = replace(rows, names=[*rows.names, [name for name in every if name not in seen]])
    return {"train": named, "dev": rows, "test": rows}


def _refuse_unknown(
    rows: Rows, names: Sequence[str], classes: Sequence[str], label_map: Mapping[str, str]
) -> None:
    for name in names:
        numbered = zip(rows.numbers, rows.names, strict=True)
        row = next(number for number, there in numbered if name in there)
        other = {str(one): model for one, model in label_map.items()}.get(name)
        what = f"{other!r}, as label_map calls {name!r}" if other else repr(name)
        raise UserError(
            f"{rows.place}, row {row}: the model has no {what}, only {listed(classes)}: correct "
            "the row, or say which of these it is with data.label_map, {data's name: model's name}"
        )


def limit(rows: Rows, count: int | None, seed: int) -> Rows:
    """``count`` rows drawn by the seed, all if there are not as many; in their original order."""
    if count is None:
        return rows
    # hashes of their own: a split that was cut by the others begins for each class where another
    # ends, so that the first of its rows would be of one class
    return rows.take(_ascending(_hashes(rows.normalised, f"drawn by {seed}"))[:count])


def _hashes(texts: Iterable[str], seed: int | str) -> Hashes:
    """(N, 2) the hash of each text, in numbers that are in its order."""
    # random by a hash of the text: no library's random stream can change the splits of old results
    digests = bytearray()
    for text in texts:
        # half of it tells any two texts apart
        digests += hashlib.sha256(f"{seed} {text}".encode(errors="replace")).digest()[:16]
    hashes = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    return hashes.byteswap(inplace=True) if sys.byteorder == "little" else hashes


def _ascending(hashes: Hashes) -> Order:
    """The numbers of the rows by their hashes; those of equal ones as they stand."""
    return np.lexsort(hashes.T[::-1])


def _numbered(hashes: Hashes) -> Order:
    """(N,) a number for each hash, the same for equal ones."""
    order = _ascending(hashes)
    rising = hashes[order]
    numbers = np.zeros(len(order), np.intp)
    numbers[order[1:]] = np.cumsum((rising[1:] != rising[:-1]).any(1))
    return numbers


def _together(groups: Hashes, order: Order) -> Order:
    """A random order in which rows of one group are neighbours."""
    return order[_ascending(groups[order])]


def _stratified(labels: Sequence[str], order: Order) -> Order:
    """A random order of which every stretch has the classes in the proportions of the whole."""
    number = {name: place for place, name in enumerate(sorted(set(labels)))}
    classes = np.fromiter((number[label] for label in labels), np.intp, len(labels))[order]
    members = np.bincount(classes, minlength=len(number))
    by_class = np.argsort(classes, kind="stable")
    ranks = np.empty(len(order), np.intp)
    ranks[by_class] = np.arange(len(order)) - np.repeat(np.cumsum(members) - members, members)
    spread = (ranks + 0.5) / members[classes]
    return order[np.lexsort([order, classes, spread])]
