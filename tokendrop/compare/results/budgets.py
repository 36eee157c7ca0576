"""Methods at the same budget: which point stands for each, and what can be told apart.

The point is chosen on dev; what is said of it is measured on test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from tokendrop.compare.results.baseline import NONE, Baseline
from tokendrop.compare.results.bootstrap import SIGNIFICANT, Estimate, holm
from tokendrop.compare.results.points import Point, dense_point, rivals
from tokendrop.compare.results.resampled import Difference, Resampled
from tokendrop.measure.measures import VALUE

SPEEDUPS = (1.5, 2.0, 3.0)
"""Times fewer FLOPs at which methods are compared where a comparison names no others."""
REACHED = 0.99
"""The share of a speed-up that counts as reaching it. Half of the layers save a little less than
half of the FLOPs, since the head stays; and on test a speed-up is a little other than on dev."""
SHORT = 0.9
"""The share of a budget that a point must reach with all seeds if it was tuned for it with one."""


@dataclass(frozen=True)
class Compared:
    """A difference among others of its kind.

    Attributes:
        difference: None where no two sets of answers with the same seeds are there.
        p_value: of its resamples, corrected by Holm for all of its kind; 1 without any.
    """

    difference: Difference | None
    p_value: float = 1.0

    @property
    def told_apart(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class Standing:
    """A method at a budget, or one that drops nothing: its point, and how it compares to dense."""

    point: Point
    to_dense: Compared

    @property
    def tuning_cost(self) -> float | None:
        """FLOPs of the method's tuning, as a multiple of the shared fine-tuning."""
        cost = _tuning(self.point).get("cost")
        return float(cost) if isinstance(cost, int | float) else None


@dataclass(frozen=True)
class Pair:
    """Two methods at a budget: how much better the first is."""

    one: str
    other: str
    compared: Compared

    def seen_from(self, method: str) -> Compared:
        """The difference from the side of one of the two."""
        found = self.compared.difference
        if method == self.one or found is None:
            return self.compared
        turned = replace(found, value=-found.value, low=-found.high, high=-found.low)
        return replace(self.compared, difference=turned)


@dataclass(frozen=True)
class AtBudget:
    """A budget: who reaches it, who does not, and who beats whom.

    Attributes:
        speedup: times fewer FLOPs than the packed dense model.
        standings: of the methods that reach it, by name.
        too_slow: methods that do not.
        pairs: each two of those that do.
    """

    speedup: float
    standings: list[Standing]
    too_slow: list[str]
    pairs: list[Pair]

    @property
    def best(self) -> str | None:
        """The method that beats every other one, if any does."""
        names = [one.point.method for one in self.standings]
        for name in names:
            mine = [pair.seen_from(name) for pair in self.pairs if name in (pair.one, pair.other)]
            if mine and all(c.told_apart and c.difference and c.difference.value > 0 for c in mine):
                return name
        return None


@dataclass(frozen=True)
class SameBudget:
    """A task: its methods at each budget.

    Attributes:
        task: its name.
        dense: what methods are compared with, None while it has not run.
        interval: of its metric, None without its answers.
        references: all that drop nothing by design, dense among them.
        baseline: what needs no encoder.
        budgets: empty where nothing can be compared.
        without_dev: methods that have no point that was measured on dev.
        keep_all: points that should drop something and do not.
    """

    task: str
    dense: Point | None
    interval: Estimate | None
    references: list[Standing]
    baseline: Baseline
    budgets: list[AtBudget]
    without_dev: list[str]
    keep_all: list[Point]

    @property
    def dense_learned(self) -> bool:
        """Whether dense is told to be above what needs no encoder."""
        return self.dense is not None and self.baseline.is_told_below(
            self.dense.mean(VALUE), self.interval
        )


def same_budget(
    of_task: Sequence[Point], resampled: Resampled, baseline: Baseline = NONE
) -> SameBudget:
    """The methods of one task at the same budgets.

    Args:
        of_task: all points of the task.
        resampled: the same.
        baseline: of the task.

    Raises:
        UserError: points that were tested on different examples.
    """
    dense = dense_point(of_task)
    methods = rivals(of_task)
    references = [
        Standing(point, Compared(_gap(point, dense, resampled)))
        for point in of_task
        if point.is_reference
    ]
    measured = {point.method for point in methods if point.on_dev}
    budgets = []
    if measured:
        budgets = [
            _at_budget(speedup, methods, dense, resampled) for speedup in budgets_of(of_task)
        ]
    return SameBudget(
        task=of_task[0].task,
        dense=dense,
        interval=resampled.interval(dense) if dense else None,
        references=references,
        baseline=baseline,
        budgets=budgets,
        without_dev=sorted({point.method for point in methods} - measured),
        keep_all=[point for point in methods if point.drops_nothing],
    )


def budgets_of(of_task: Iterable[Point]) -> list[float]:
    """The speed-ups that the comparisons were tuned for, or else SPEEDUPS."""
    wanted: set[float] = set()
    for point in of_task:
        for run in point.runs:
            tune = (run.provenance.get("config") or {}).get("tune")
            wanted |= _speedups(tune)
    return sorted(wanted) or list(SPEEDUPS)


def chosen(points: Iterable[Point], speedup: float) -> dict[str, Point]:
    """The point that stands for each method at a budget: of those that reach it the best on dev.

    Of equals it is the faster. A point that was tuned for the budget may fall a little short of it
    with other seeds. A method of which no point reaches it is left out.
    """
    best: dict[str, tuple[tuple[float, float], Point]] = {}
    for point in points:
        dev = point.on_dev
        tuned = speedup in _speedups(_tuning(point))
        if dev is None or dev.flops_speedup_unpadded < speedup * (SHORT if tuned else REACHED):
            continue
        rank = dev.value, dev.flops_speedup_unpadded
        known = best.get(point.method)
        if known is None or rank > known[0]:
            best[point.method] = rank, point
    return {method: point for method, (_, point) in best.items()}


def _at_budget(
    speedup: float, methods: Sequence[Point], dense: Point | None, resampled: Resampled
) -> AtBudget:
    stand = chosen(methods, speedup)
    measured = {point.method for point in methods if point.on_dev}
    gaps = _corrected([_gap(point, dense, resampled) for point in stand.values()])
    pairs = list(combinations(stand.values(), 2))
    between = _corrected([resampled.difference(*pair) for pair in pairs])
    return AtBudget(
        speedup,
        [Standing(*pair) for pair in zip(stand.values(), gaps, strict=True)],
        sorted(measured - set(stand)),
        [
            Pair(one.method, other.method, compared)
            for (one, other), compared in zip(pairs, between, strict=True)
        ],
    )


def _gap(point: Point, dense: Point | None, resampled: Resampled) -> Difference | None:
    if dense is None or point.key == dense.key:
        return None
    return resampled.difference(point, dense)


def _corrected(differences: Sequence[Difference | None]) -> list[Compared]:
    corrected = iter(holm([found.resampled_p for found in differences if found]))
    return [Compared(found, next(corrected)) if found else Compared(None) for found in differences]


def _tuning(point: Point) -> dict[str, Any]:
    found = point.runs[0].details.get("tuning")
    return found if isinstance(found, dict) else {}


def _speedups(described: Any) -> set[float]:
    """The speed-ups of a free-form field of a record, none where it has none."""
    named = described.get("speedups") if isinstance(described, dict) else None
    if not isinstance(named, list):
        return set()
    return {float(speedup) for speedup in named if isinstance(speedup, int | float)}
