"""Means, intervals and tests of the points of a comparison. docs/statistics.md says how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tokendrop.compare.results.records import DENSE, Point, Record, by_task, dense_point
from tokendrop.errors import UserError
from tokendrop.measure.measures import TRAIN_COST, TRAIN_FLOPS, TRAIN_SECONDS, VALUE
from tokendrop.tasks import kind_named
from tokendrop.tasks.resampling import Array, OfResamples

CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 0
_CELLS = 4_000_000  # weights held at once: resamples times examples

Key = tuple[str, str, str]
"""Task, method, operating point."""

Statistics = Mapping[Key, "PointStatistics"]
NOTHING: Statistics = {}


@dataclass(frozen=True)
class Difference:
    """How much better than dense a point is; negative is worse.

    Attributes:
        value: of the metric, mean over the seeds.
        low, high: the 95 % interval over the test examples.
        p_value: of the exact McNemar test, None where the task is no classification.
    """

    value: float
    low: float
    high: float
    p_value: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class PointStatistics:
    """What is known of a point beyond its means.

    Attributes:
        mean, std: of the metric over the seeds; no deviation where there is one seed.
        interval: the 95 % interval of the mean over the test examples; None without predictions.
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


def point_statistics(records: Sequence[Record], folder: Path) -> dict[Key, PointStatistics]:
    """The statistics of every point.

    Args:
        records: of a comparison.
        folder: where their predictions lie.

    Raises:
        UserError: saved predictions that are torn, or are not those that a record was made from.
    """
    found = {}
    for of_task in by_task(records).values():
        dense = dense_point(of_task)
        for point in of_task:
            found[point.key] = _of_point(point, dense, folder)
    return found


def _of_point(point: Point, dense: Point | None, folder: Path) -> PointStatistics:
    answers = _all_answers(point.runs, folder)
    interval, compared = None, None
    if answers is not None:
        _, low, high = bootstrap(_mean_metric(point.runs[0], answers), len(answers[0]))
        interval = (low, high)
    if dense is not None and point.method != DENSE:
        compared = difference(point.runs, dense.runs, folder)
    tuned = [run.stages[0] if run.stages else {"flops": 0.0, "seconds": 0.0} for run in point.runs]
    return PointStatistics(
        mean=point.mean(VALUE),
        std=point.std(VALUE),
        interval=interval,
        difference=compared,
        train_flops=point.mean(TRAIN_FLOPS),
        train_seconds=point.mean(TRAIN_SECONDS),
        fine_tune_flops=float(np.mean([stage["flops"] for stage in tuned])),
        fine_tune_seconds=float(np.mean([stage["seconds"] for stage in tuned])),
        train_cost=point.mean(TRAIN_COST),
    )


def difference(runs: Sequence[Record], dense: Sequence[Record], folder: Path) -> Difference | None:
    """The difference of a point's runs to those of dense, with its interval and its test.

    Returns:
        None without the predictions of every run, or where the seeds are not the same.

    Raises:
        UserError: see :func:`point_statistics`.
    """
    if [run.seed for run in runs] != [run.seed for run in dense]:
        return None
    mine, theirs = (_all_answers(side, folder) for side in (runs, dense))
    if mine is None or theirs is None:
        return None
    for run, one, other in zip(runs, mine, theirs, strict=True):
        if not one.index.equals(other.index) or not one["label"].equals(other["label"]):
            raise UserError(
                f"{folder / str(run.predictions_file)} and the dense model's predictions are not "
                "of the same test examples: delete the records of both runs and run again"
            )
    ours, others = (_mean_metric(runs[0], side) for side in (mine, theirs))
    value, low, high = bootstrap(lambda weights: ours(weights) - others(weights), len(mine[0]))
    p_value = None
    if kind_named(runs[0].kind).right_or_wrong:
        right = [[frame["score"].to_numpy() > 0 for frame in side] for side in (mine, theirs)]
        p_value = combined_p_value([mcnemar(*pair) for pair in zip(*right, strict=True)])
    return Difference(value, low, high, p_value)


def bootstrap(measure: OfResamples, examples: int) -> tuple[float, float, float]:
    """A measure on the examples as they are, and its 95 % percentile interval.

    A difference is paired if both sides are inside the measure. The interval says how far another
    test set of this size could move it; not how far other seeds could.
    """

    def of_resamples(indices: NDArray[np.int64], axis: int) -> Array:
        drawn = np.atleast_2d(np.moveaxis(indices, axis, -1))
        places = drawn + examples * np.arange(len(drawn))[:, None]
        counts = np.bincount(places.ravel(), minlength=examples * len(drawn))
        weights = counts.reshape(len(drawn), examples).astype(float)
        return measure(weights).reshape(indices.shape[:-1])

    (value,) = measure(np.ones((1, examples)))
    if examples < 2:
        return float(value), float(value), float(value)  # scipy resamples 2 or more
    found = stats.bootstrap(
        (np.arange(examples),),
        of_resamples,
        n_resamples=RESAMPLES,
        batch=max(1, _CELLS // examples),
        vectorized=True,
        confidence_level=CONFIDENCE,
        # the corrected method is not defined where all examples differ alike
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(value), float(found.low), float(found.high)


def mcnemar(mine: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """Exact two-sided p value of McNemar's test on which examples two models have right.

    1 where they are right on the same ones.
    """
    better, worse = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    if better + worse == 0:
        return 1.0
    return float(stats.binomtest(better, better + worse).pvalue)


def combined_p_value(p_values: Sequence[float]) -> float:
    """One p value from those of the seeds: twice the median, at most 1.

    The seeds share the test examples, so their tests depend on each other in ways unknown; twice
    the median holds whatever these are (Meinshausen, Meier and Buehlmann 2009).
    """
    if len(p_values) == 1:
        return p_values[0]
    return min(1.0, 2 * float(np.median(p_values)))


def _mean_metric(run: Record, answers: Sequence[pd.DataFrame]) -> OfResamples:
    """The mean over seeds of a run's metric; a resample of the examples serves all seeds."""
    metrics = [kind_named(run.kind).of_resamples(run.metric, frame) for frame in answers]
    return lambda weights: np.asarray(np.mean([metric(weights) for metric in metrics], axis=0))


def _all_answers(runs: Sequence[Record], folder: Path) -> list[pd.DataFrame] | None:
    """The predictions of every run, None if any has none."""
    found = [frame for run in runs if (frame := _answers(run, folder)) is not None]
    return found if len(found) == len(runs) else None


def _answers(record: Record, folder: Path) -> pd.DataFrame | None:
    """The saved predictions of a run, None if there are none.

    Raises:
        UserError: they are torn, or do not give the recorded value.
    """
    if record.predictions_file is None or not (folder / record.predictions_file).is_file():
        return None
    path = folder / record.predictions_file
    cure = "delete this run's record under runs/ and run again"
    kind = kind_named(record.kind)
    try:
        frame = _read(path, path.stat().st_mtime_ns, kind.head.output != "number")
        (value,) = kind.of_resamples(record.metric, frame)(np.ones((1, len(frame))))
    except (ValueError, KeyError, IndexError, ZeroDivisionError) as error:
        raise UserError(f"{path} are not the whole predictions of a run: {cure}") from error
    if not abs(value - record.value) < 1e-3:
        raise UserError(
            f"{path} give a {record.metric} of {value:.4f} but the record says {record.value:.4f}: "
            f"{cure}"
        )
    return frame


@lru_cache(maxsize=64)
def _read(path: Path, _changed: int, labels_are_names: bool) -> pd.DataFrame:
    # a class may be called 1, NA or None
    names = {"label": str} if labels_are_names else {}
    return pd.read_csv(path, index_col="example", dtype=names, keep_default_na=False)
