"""Means, intervals and tests of the points of a comparison. docs/statistics.md says how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tokendrop.compare.results.points import Point, dense_point
from tokendrop.compare.results.resampled import Difference, Resampled
from tokendrop.measure.measures import VALUE

Key = tuple[str, str, str]
"""Task, method, operating point."""

Statistics = Mapping[Key, "PointStatistics"]
NOTHING: Statistics = {}


@dataclass(frozen=True)
class PointStatistics:
    """What is known of a point beyond its means.

    Attributes:
        mean, std: of the metric over the seeds; no deviation where there is one seed.
        interval: the 95 % interval of the mean over seeds and test examples; None without
            predictions.
        difference: to dense; None for dense itself, without the predictions of both, and while they
            have not run with the same seeds.
    """

    mean: float
    std: float | None
    interval: tuple[float, float] | None
    difference: Difference | None


def task_statistics(of_task: Sequence[Point], resampled: Resampled) -> dict[Key, PointStatistics]:
    """The statistics of the points of one task."""
    dense = dense_point(of_task)
    return {point.key: _of_point(point, dense, resampled) for point in of_task}


def _of_point(point: Point, dense: Point | None, resampled: Resampled) -> PointStatistics:
    known, compared = resampled.interval(point), None
    if dense is not None and point.key != dense.key:
        compared = resampled.difference(point, dense)
    return PointStatistics(
        mean=point.mean(VALUE),
        std=point.std(VALUE),
        interval=(known.low, known.high) if known else None,
        difference=compared,
    )
