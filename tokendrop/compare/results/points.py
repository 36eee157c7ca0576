"""The runs of a method at an operating point over its seeds: what a row of the tables is of."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tokendrop.compare.results.records import OnDev, Record, ordered
from tokendrop.measure.measures import FLOPS_UNPADDED, KEPT_TOKENS, VALUE, Measure, within_noise

KEEPS_ALL = 0.98
"""A method that keeps more of the tokens x layers than this drops nothing worth the name."""


@dataclass(frozen=True)
class Point:
    """The runs over seeds of one method at one operating point on one task."""

    method: str
    operating_point: str
    task: str
    runs: tuple[Record, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """Task, method and operating point."""
        return self.task, self.method, self.operating_point

    @property
    def seeds(self) -> list[int]:
        """Of its runs, in order."""
        return [run.seed for run in self.runs]

    @property
    def name(self) -> str:
        """The method and, where it has several, its operating point."""
        return self.method if self.is_reference else f"{self.title} ({self.operating_point})"

    @property
    def title(self) -> str:
        """The method, or "dense in ONNX Runtime", for people."""
        return f"dense in {self.engine}" if self.engine else self.method

    @property
    def engine(self) -> str | None:
        """What ran the dense model in the place of our own passes, for people."""
        return self.runs[0].details.get("engine")

    @property
    def is_reference(self) -> bool:
        """Whether its method drops nothing by design, so that others are compared with it."""
        return all(run.is_reference for run in self.runs)

    @property
    def is_rival(self) -> bool:
        """Whether its method should drop something: no reference and no engine."""
        return not (self.is_reference or self.engine)

    @property
    def drops_nothing(self) -> bool:
        """Whether a method that should drop something keeps nearly all: more than KEEPS_ALL."""
        return self.is_rival and self.mean(KEPT_TOKENS) > KEEPS_ALL

    @property
    def on_dev(self) -> OnDev | None:
        """Value and speed-up on dev, means over the seeds; None if a run was not measured there."""
        found = [run.dev for run in self.runs if run.dev]
        if len(found) < len(self.runs):
            return None
        means: dict[str, Any] = {
            measure.name: statistics.fmean(getattr(dev, measure.name) for dev in found)
            for measure in (VALUE, FLOPS_UNPADDED)
        }
        return dataclasses.replace(found[0], **means)

    def noise(self, measure: Measure) -> float:
        """The largest noise of a measure over the seeds, see :meth:`Record.noise`."""
        return max(run.noise(measure) for run in self.runs)

    def within_noise(self, measure: Measure) -> bool:
        """Whether a ratio of the clock cannot be told from 1."""
        noise = self.noise(measure)
        return bool(noise) and within_noise(self.mean(measure), noise)

    def mean(self, measure: Measure) -> float:
        """Mean of a measure over the seeds."""
        return statistics.fmean(run.measured(measure) for run in self.runs)

    def std(self, measure: Measure) -> float | None:
        """Sample standard deviation over the seeds, None where there is one seed."""
        values = [run.measured(measure) for run in self.runs]
        return statistics.stdev(values) if len(values) > 1 else None


def points(records: Sequence[Record]) -> list[Point]:
    """Group the runs over their seeds, in the order of the tables."""
    groups = groupby(ordered(records), lambda r: (r.method, r.operating_point, r.task))
    return [Point(*name, tuple(runs)) for name, runs in groups]


def by_task(records: Sequence[Record]) -> dict[str, list[Point]]:
    """The points of each task, tasks by name."""
    groups: dict[str, list[Point]] = {task: [] for task in sorted({r.task for r in records})}
    for point in points(records):
        groups[point.task].append(point)
    return groups


def runs_of(points: Iterable[Point]) -> list[Record]:
    """The runs of some points, in their order."""
    return [run for point in points for run in point.runs]


def rivals(points: Iterable[Point]) -> list[Point]:
    """Those of methods that should drop something, which is what is ranked."""
    return [point for point in points if point.is_rival]


def dense_point(of_task: Sequence[Point]) -> Point | None:
    """What the others are compared with: of the points of one task that drop nothing by design, and
    have run with the most seeds, the best on dev, or the one called dense where not all were
    measured there. None while none has run.
    """
    every = [point for point in of_task if point.is_reference]
    most = max((len(point.runs) for point in every), default=0)
    references = [point for point in every if len(point.runs) == most]
    values = [dev.value for point in references if (dev := point.on_dev)]
    if references and len(values) == len(references):
        return references[values.index(max(values))]
    return next(iter(references), None)
