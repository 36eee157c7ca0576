"""The fates of tokens and rows of each point, over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokendrop.compare.results.fates import Fates, Sample, read_fates, spread
from tokendrop.compare.results.points import Point, by_task
from tokendrop.compare.results.records import Record


@dataclass(frozen=True)
class PointFates:
    """What became of the tokens of a point: counts over all seeds, and texts of the first one.

    Attributes:
        samples: the texts by the number of their row, as others may begin alike.
    """

    point: Point
    title: str
    layers: int
    exits: list[int]
    dropped: dict[str, list[int]]
    samples: dict[int, Sample]


def fates_of(records: Sequence[Record], folder: Path) -> list[PointFates]:
    """Of each point whose runs saved them.

    Raises:
        UserError: a file that a record names is missing or torn.
    """
    several_tasks = len(by_task(records)) > 1
    found = []
    for of_task in by_task(records).values():
        for point in of_task:
            saved = [read_fates(folder / run.fates_file) for run in point.runs if run.fates_file]
            if saved:
                title = f"{point.name}, {point.task}" if several_tasks else point.name
                found.append(_summed(point, title, saved))
    return found


def _summed(point: Point, title: str, saved: Sequence[Fates]) -> PointFates:
    first = saved[0]
    kinds = dict.fromkeys(kind for one in saved for kind in one.dropped)
    dropped = {
        kind: _sum([one.dropped[kind] for one in saved if kind in one.dropped]) for kind in kinds
    }
    exits = _sum([one.exits for one in saved])
    rows = spread(sum(first.exits), len(first.samples))
    samples = dict(zip(rows, first.samples, strict=True))
    return PointFates(point, title, first.layers, exits, dropped, samples)


def _sum(counts: Sequence[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*counts, strict=True)]
