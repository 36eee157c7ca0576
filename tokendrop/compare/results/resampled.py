"""The runs of a task on the same resamples, so that any two points can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from tokendrop.compare.results.bootstrap import Estimate, estimate, on_resamples
from tokendrop.compare.results.points import Point
from tokendrop.compare.results.predictions import saved_answers
from tokendrop.compare.results.records import Record, RunKey
from tokendrop.errors import UserError
from tokendrop.tasks import kind_named
from tokendrop.tasks.resampling import Array


@dataclass(frozen=True)
class Difference:
    """How much better than another a point is; negative is worse.

    Attributes:
        value: of the metric, mean over the seeds.
        low, high: the 95 % interval over seeds and test examples.
        p_value: of the exact McNemar test, None where the task is no classification.
        resampled_p: two-sided, from the resamples that the interval is of.
    """

    value: float
    low: float
    high: float
    p_value: float | None
    resampled_p: float


@dataclass(frozen=True, eq=False)
class _Answered:
    """A run's answers, its metric, and its metric on each resample."""

    run: Record
    answers: pd.DataFrame
    value: float
    resampled: Array


class Resampled:
    """The points of a task, whose runs all see the same resamples of the test examples."""

    def __init__(self, of_task: Sequence[Point], folder: Path) -> None:
        """
        Args:
            of_task: the points of one task.
            folder: where their predictions lie; a run without any is compared with none.

        Raises:
            UserError: predictions that are torn, or are not those that a record was made from.
        """
        self.folder = folder
        by_size: dict[int, list[tuple[Record, pd.DataFrame]]] = {}
        for run in (run for point in of_task for run in point.runs):
            if (answers := saved_answers(run, folder)) is not None:
                by_size.setdefault(len(answers), []).append((run, answers))
        self._runs: dict[RunKey, _Answered] = {}
        for examples, runs in by_size.items():
            metrics = [kind_named(run.kind).of_resamples(run.metric, read) for run, read in runs]
            values, resampled = on_resamples(metrics, examples)
            for place, (run, read) in enumerate(runs):
                found = _Answered(run, read, float(values[place]), resampled[place])
                self._runs[run.key] = found

    def interval(self, point: Point) -> Estimate | None:
        """The metric of a point with its interval; None without the predictions of every run."""
        runs = self._answered(point)
        if runs is None:
            return None
        values = np.array([run.value for run in runs])
        return estimate(values, np.stack([run.resampled for run in runs]))

    def difference(self, point: Point, other: Point) -> Difference | None:
        """How much better a point is than another.

        Returns:
            None without the predictions of every run, or where the seeds are not the same.

        Raises:
            UserError: the two were not tested on the same examples.
        """
        if point.seeds != other.seeds:
            return None
        mine, theirs = self._answered(point), self._answered(other)
        if mine is None or theirs is None:
            return None
        pairs = list(zip(mine, theirs, strict=True))
        for pair in pairs:
            self._check(*pair)
        found = estimate(
            np.array([one.value - two.value for one, two in pairs]),
            np.stack([one.resampled - two.resampled for one, two in pairs]),
        )
        p_value = None
        if kind_named(point.runs[0].kind).right_or_wrong:
            tests = [mcnemar(_right(one), _right(two)) for one, two in pairs]
            p_value = combined_p_value(tests)
        return Difference(found.value, found.low, found.high, p_value, found.p_value)

    def _answered(self, point: Point) -> list[_Answered] | None:
        """The point's runs with their answers, None if any has none."""
        keys = [run.key for run in point.runs]
        return [self._runs[key] for key in keys] if all(key in self._runs for key in keys) else None

    def _check(self, one: _Answered, other: _Answered) -> None:
        mine, theirs = one.answers, other.answers
        if not mine.index.equals(theirs.index) or not mine["label"].equals(theirs["label"]):
            raise UserError(
                f"{self.folder / str(one.run.predictions_file)} and "
                f"{self.folder / str(other.run.predictions_file)} are not of the same test "
                "examples: delete the records of both runs and run again"
            )


def _right(run: _Answered) -> NDArray[np.bool_]:
    return run.answers["score"].to_numpy() > 0


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
