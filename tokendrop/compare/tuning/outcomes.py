"""What the trials of a method gave, and which of them is run with all seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokendrop.compare.results.budgets import REACHED

WORST = -1.0
"""The metric of a training that diverged: that of a correlation at its worst."""

NEAR = 1.2
"""So many times as fast is about as fast: beyond, a point says little of a speed-up."""


@dataclass(frozen=True)
class Measured:
    """A point of a trained trial on the dev split.

    Attributes:
        point: the method's operating point, None for what a search for configurations found.
        value: of the task's metric.
        speedup: in FLOPs, on the unpadded base.
    """

    point: str | None
    value: float
    speedup: float

    def reaches(self, speedup: float) -> bool:
        """Whether it is as fast as that."""
        return self.speedup >= REACHED * speedup


@dataclass(frozen=True)
class Outcome:
    """What a trial gave and cost.

    Attributes:
        points: what was measured of it, nothing if its loss was not a number at some time.
        epochs: that it trained itself; 0 where an earlier trial had trained the same.
        training: FLOPs of that training, in multiples of the dense fine-tuning.
        measuring: the same of the passes that measured its points, and of its search.
        estimate: what it was expected to cost, which the budget had to cover.
        scores: of the training rows that its training paid for, by name; later ones find them.
        seconds: of all this work.
    """

    points: list[Measured]
    epochs: int
    training: float
    measuring: float
    estimate: float
    scores: list[str]
    seconds: float

    @property
    def cost(self) -> float:
        """Of all its work, in multiples of the dense fine-tuning."""
        return self.training + self.measuring


@dataclass(frozen=True)
class Trial:
    """A trial that was measured.

    Attributes:
        number: among them, from 1.
        values: what was drawn, by argument.
    """

    number: int
    values: dict[str, Any]
    outcome: Outcome


@dataclass(frozen=True)
class Chosen:
    """An operating point that tuning has found.

    Attributes:
        name: the speed-ups that it is the best for, ``1.5x+2x``; ``fastest`` where the method
            reaches none, ``tuned`` where there is none to reach.
        changes: to the method's arguments.
        budget: share of the FLOPs for which its configuration is searched again on each trained
            model, None for no search.
        tuning: where it comes from, for its records: ``speedups``, the ``trial`` of how many
            ``trials``, and what all of them took, ``cost`` in multiples of the dense fine-tuning
            and ``seconds``.
    """

    name: str
    changes: dict[str, Any]
    budget: float | None
    tuning: dict[str, Any]


def covers(left: float, estimate: float) -> bool:
    """Whether what is left of a budget covers a trial; sums of shares may be a little off."""
    return estimate <= left + 1e-9


def best(trials: Sequence[Trial], speedup: float | None) -> tuple[Trial, Measured] | None:
    """The trial and its point of the best dev metric that reach a speed-up; of equals the faster.

    Args:
        trials: to choose from.
        speedup: to reach, None for any.

    Returns:
        None if none reaches it.
    """
    reached = [
        (trial, point)
        for trial in trials
        for point in trial.outcome.points
        if speedup is None or point.reaches(speedup)
    ]
    return max(
        reached, key=lambda one: (one[1].value, one[1].speedup, -one[0].number), default=None
    )


def around(trials: Sequence[Trial], speedups: Sequence[float]) -> list[tuple[Trial, Trial]]:
    """Pairs of a slower and a faster trial with a speed-up between them that no trial comes near.

    Args:
        trials: of a method on a task.
        speedups: to reach.

    Returns:
        for each such speed-up the two trials that come nearest to it at the same operating point,
        as what lies between them is told of no other; that first which the faster trials miss most.
        Of trials about as fast it is the last, as the last may have been drawn between others.
    """
    measured: dict[str | None, list[tuple[Trial, float]]] = {}
    for trial in trials:
        for point in trial.outcome.points:
            measured.setdefault(point.point, []).append((trial, point.speedup))
    speeds = [speed for of_point in measured.values() for _, speed in of_point]
    found: dict[tuple[int, int], tuple[float, Trial, Trial]] = {}
    for wanted in speedups:
        if any(REACHED * wanted <= speed <= NEAR * wanted for speed in speeds):
            continue
        for of_point in measured.values():
            slower = [one for one in of_point if one[1] < REACHED * wanted]
            faster = [one for one in of_point if one[1] >= REACHED * wanted]
            if not slower or not faster:
                continue
            most, least = max(speed for _, speed in slower), min(speed for _, speed in faster)
            below = max((t for t, speed in slower if speed * NEAR >= most), key=_number)
            above = max((t for t, speed in faster if speed <= least * NEAR), key=_number)
            missed, pair = least / wanted, (below.number, above.number)
            if below is not above and missed > found.get(pair, (0.0,))[0]:
                found[pair] = missed, below, above
    by_gap = sorted(found.values(), key=lambda one: -one[0])
    return [(below, above) for _, below, above in by_gap]


def _number(trial: Trial) -> int:
    return trial.number


def choose(
    trials: Sequence[Trial], speedups: Sequence[float], points: Mapping[str, Mapping[str, Any]]
) -> list[Chosen]:
    """The operating points that are run: for each speed-up the best that reaches it, if any does.

    Of a method that reaches none it is the fastest, so that the tables show what there is of it.

    Args:
        trials: of a method on a task.
        speedups: to reach; without any, the best at all is chosen.
        points: changes to the arguments by operating point.
    """
    served: dict[tuple[int, int], list[float]] = {}
    found: dict[tuple[int, int], tuple[Trial, Measured]] = {}
    for speedup in sorted(speedups):
        if (one := best(trials, speedup)) is not None:
            key = (one[0].number, one[0].outcome.points.index(one[1]))
            found[key] = one
            served.setdefault(key, []).append(speedup)
    if found:
        return [_chosen(*found[key], served[key], trials, points) for key in served]
    only = _fastest(trials) if speedups else best(trials, None)
    return [] if only is None else [_chosen(*only, [], trials, points, bool(speedups))]


def _fastest(trials: Sequence[Trial]) -> tuple[Trial, Measured] | None:
    measured = [(trial, point) for trial in trials for point in trial.outcome.points]
    return max(
        measured, key=lambda one: (one[1].speedup, one[1].value, -one[0].number), default=None
    )


def _chosen(
    trial: Trial,
    found: Measured,
    speedups: list[float],
    trials: Sequence[Trial],
    points: Mapping[str, Mapping[str, Any]],
    fastest: bool = False,
) -> Chosen:
    changes = {} if found.point is None else points[found.point]
    name = "+".join(f"{speedup:g}x" for speedup in speedups)
    within = REACHED * max(speedups, default=found.speedup)
    return Chosen(
        name or ("fastest" if fastest else "tuned"),
        trial.values | dict(changes),
        min(1 / within, 1.0) if found.point is None else None,
        {
            "speedups": speedups,
            "trial": trial.number,
            "trials": len(trials),
            "cost": round(sum(one.outcome.cost for one in trials), 6),
            "seconds": round(sum(one.outcome.seconds for one in trials), 2),
        },
    )
