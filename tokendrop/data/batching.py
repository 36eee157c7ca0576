"""Which rows form a batch, and the packed batch of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
from torch.utils.data import Dataset

from tokendrop.data.split import Split
from tokendrop.engine.packed import Batch

T = TypeVar("T")

_GROUP = 50  # batches that are sorted by length together: more would make epochs alike


@dataclass(frozen=True)
class Place:
    """One of the processes of a training, counted from 0."""

    rank: int = 0
    processes: int = 1

    def of_step(self, rows: Sequence[int]) -> Sequence[int]:
        """Its share of the rows of a step, of each length about as many as the others have.

        Where there are fewer rows than processes, each has all of them: their mean is then the same
        in each, and so the mean of that.
        """
        return rows if len(rows) < self.processes else rows[self.rank :: self.processes]


ALONE = Place()


class Batches(Dataset[Batch]):
    """A split cut into batches; item i is the i-th packed batch.

    The batches are items of a dataset instead of the work of a batch sampler, because a sampler
    of one's own is replaced by Lightning in prediction and on several devices.
    """

    def __init__(self, split: Split, cut: Sequence[Sequence[int]]) -> None:
        """
        Args:
            split: the examples.
            cut: the examples of each batch, by their index in the split.
        """
        self._split = split
        self._cut = cut

    def __len__(self) -> int:
        return len(self._cut)

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Batch:
        """One batch, its rows in ascending order of length; ``examples`` are split indices."""
        split = self._split
        # rows of equal length become neighbours, which one dense attention call can serve
        rows = sorted(self._cut[index], key=split.lengths.__getitem__)
        return Batch.pack(
            [split.input_ids[row] for row in rows],
            [split.token_type_ids[row] for row in rows],
            labels=split.packed_labels(rows),
            examples=rows,
        )


def consecutive(rows: int, batch_size: int, place: Place = ALONE) -> list[Sequence[int]]:
    """Batches of a process' share of the rows, in the order of the split; every row once."""
    return chunks(range(place.rank, rows, place.processes), batch_size)


def shuffled_by_length(
    lengths: Sequence[int],
    batch_size: int,
    token_budget: int | None,
    seed: int,
    epoch: int,
    place: Place = ALONE,
) -> list[Sequence[int]]:
    """Batches of rows of similar length, random otherwise; every row once.

    The order follows from seed and epoch alone, so a resumed run sees what it would have seen.
    Several processes share batches that one would have, were its batches so many times as large.

    Args:
        lengths: tokens of each row.
        batch_size: rows of a batch.
        token_budget: if given, a batch has as many rows as fit into so many tokens instead; a
            row that is longer is alone in its batch.
        seed: of the run.
        epoch: counted from 0.
        place: whose share of each step is given.
    """
    batch_size *= place.processes
    token_budget = None if token_budget is None else token_budget * place.processes
    random = np.random.default_rng([seed, epoch])
    order = array("q", random.permutation(len(lengths)).astype("q").tobytes())
    usual = batch_size
    if token_budget is not None:
        usual = max(1, token_budget * len(lengths) // sum(lengths))
    # sorting is stable: rows of one length stay shuffled
    groups = chunks(order, _GROUP * usual)
    grouped = array("q", chain.from_iterable(sorted(g, key=lengths.__getitem__) for g in groups))
    if token_budget is None:
        batches = chunks(grouped, batch_size)
    else:
        batches = _by_tokens(grouped, lengths, token_budget)
    # arrays, since lists of rows take five times the memory
    return [place.of_step(batches[i]) for i in random.permutation(len(batches))]


def chunks(rows: Sequence[T], size: int) -> list[Sequence[T]]:
    """Rows in groups of so many, in their order; the last one may have fewer."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def padded_lengths(lengths: Sequence[int], size: int) -> list[int]:
    """Tokens of each row with what it is padded by, in batches of so many rows as they come."""
    return [max(chunk) for chunk in chunks(lengths, size) for _ in chunk]


def _by_tokens(rows: Iterable[int], lengths: Sequence[int], budget: int) -> list[Sequence[int]]:
    batches: list[array[int]] = []
    tokens = 0
    for row in rows:
        if not batches or tokens + lengths[row] > budget:
            batches.append(array("q"))
            tokens = 0
        batches[-1].append(row)
        tokens += lengths[row]
    return list(batches)
