"""Means, intervals, tests and costs of the points of a comparison. docs/statistics.md says how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokendrop.compare.results.records import Point, dense_point
from tokendrop.compare.results.resampled import Difference, Resampled
from tokendrop.measure.measures import TRAIN_COST, TRAIN_FLOPS, TRAIN_SECONDS, VALUE

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
        train_flops, train_seconds: of the whole recipe, mean over the seeds.
        fine_tune_flops, fine_tune_seconds: what of it is the fine-tuning that all methods share.
        train_cost: FLOPs of the recipe relative to those of that fine-tuning alone.
    """

    mean: float
    std: float | None
    interval: tuple[float, float] | None
    difference: Difference | None
    train_flops: float
    train_seconds: float
    fine_tune_flops: float
    fine_tune_seconds: float
    train_cost: float


def task_statistics(of_task: Sequence[Point], resampled: Resampled) -> dict[Key, PointStatistics]:
    """The statistics of the points of one task."""
    dense = dense_point(of_task)
    return {point.key: _of_point(point, dense, resampled) for point in of_task}


def _of_point(point: Point, dense: Point | None, resampled: Resampled) -> PointStatistics:
    known, compared = resampled.interval(point), None
    if dense is not None and point.key != dense.key:
        compared = resampled.difference(point, dense)
    tuned = [run.stages[0] if run.stages else {"flops": 0.0, "seconds": 0.0} for run in point.runs]
    return PointStatistics(
        mean=point.mean(VALUE),
        std=point.std(VALUE),
        interval=(known.low, known.high) if known else None,
        difference=compared,
        train_flops=point.mean(TRAIN_FLOPS),
        train_seconds=point.mean(TRAIN_SECONDS),
        fine_tune_flops=float(np.mean([stage["flops"] for stage in tuned])),
        fine_tune_seconds=float(np.mean([stage["seconds"] for stage in tuned])),
        train_cost=point.mean(TRAIN_COST),
    )
