"""Which rows are trained on, which choose the checkpoint, and which are reported."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from itertools import chain

from tokendrop.data.rows import Rows
from tokendrop.errors import UserError

log = logging.getLogger(__name__)


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
    held_out = set(chain.from_iterable(rows.groups for s, rows in given.items() if s != "train"))
    keys = train.normalised
    fresh = [i for i, group in enumerate(train.groups) if group not in held_out]
    if len(fresh) < len(keys):
        log.warning(
            "%s: %d of %d training %s also occur in the dev or test rows and were removed",
            *(train.place, len(keys) - len(fresh), len(keys), train.relation),
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
    order = _stratified(train, seed) if train.stratified else _grouped(train, seed)
    for name, part in missing.items():
        count = max(1, round(part * len(train)))
        while count < len(order) and train.groups[order[count]] == train.groups[order[count - 1]]:
            count += 1
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
    keys = _hashes(rows.normalised, seed)
    return sorted(range(len(keys)), key=keys.__getitem__)


def _hashes(texts: Iterable[str], seed: int) -> list[bytes]:
    # random by a hash of the text: no library's random stream can change the splits of old results
    salted = (f"{seed} {text}".encode(errors="replace") for text in texts)
    return [hashlib.sha256(text).digest() for text in salted]


def _grouped(rows: Rows, seed: int) -> list[int]:
    """A random order in which rows of one group are neighbours."""
    keys = _hashes(rows.groups, seed)
    return sorted(_shuffled(rows, seed), key=keys.__getitem__)


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
