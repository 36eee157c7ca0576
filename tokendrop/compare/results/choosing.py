"""The model of a comparison that is fastest among those that lose little: chosen on dev."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokendrop.compare.results.baseline import NONE, Baselines
from tokendrop.compare.results.points import Point, by_task, dense_point, rivals
from tokendrop.compare.results.records import Record
from tokendrop.compare.results.resampled import Difference, Resampled
from tokendrop.errors import UserError, unknown
from tokendrop.measure.measures import THROUGHPUT_UNPADDED as CLOCK
from tokendrop.measure.measures import VALUE

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what it gives up.

    Attributes:
        point: the operating point.
        reference: the model that drops nothing which it is compared with, the better on dev.
        run: of the seed whose model is the best on dev.
        loss: of the metric on dev against the reference, mean over the seeds; below 0 is a gain.
        on_dev, on_test: the differences to the reference; None where they cannot be paired.
    """

    point: Point
    reference: Point
    run: Record
    loss: float
    on_dev: Difference | None
    on_test: Difference | None


def choose(
    records: Sequence[Record],
    folder: Path,
    max_loss: float,
    min_speedup: float = 1.0,
    task: str | None = None,
    baselines: Baselines | None = None,
) -> Choice:
    """The fastest point that loses little on dev.

    Fast is by the clock at 32 rows against the same encoder with nothing dropped, mean over the
    seeds; what is within the noise of that measurement is not faster. A point that drops nothing is
    the dense model, whatever the clock says of it, and is no candidate; nor is one that has run
    with other seeds than the reference, which a warning names. The clock ran on texts of the test
    split; no answer to them has a part in the choice.

    Args:
        records: of a comparison.
        folder: where their predictions lie.
        max_loss: largest loss of the metric on dev, as a share: 0.01 is one point.
        min_speedup: smallest speed-up.
        task: which one, where the comparison has several.
        baselines: what a task gives to one who has no encoder.

    Raises:
        UserError: no point qualifies, no such task, several tasks, runs without dev figures or
            without a model that drops nothing and has learned something.
    """
    tasks = by_task(records)
    if task is None:
        if len(tasks) > 1:
            raise UserError(f"{folder} compares on {', '.join(tasks)}: choose one with --task")
        (task,) = tasks
    if task not in tasks:
        raise unknown(f"task of {folder}", task, tasks)
    for run in (run for point in tasks[task] for run in point.runs):
        if run.dev is None:
            raise UserError(
                f"{run.method} ({run.operating_point}) in {folder} was run by a version that did "
                "not measure on the dev split, which is what is chosen by: delete its record under "
                "runs/ and run the comparison again"
            )
    reference = dense_point(tasks[task])
    if reference is None:
        raise UserError(f"{folder} has no dense model on {task} to compare with: add the method")
    level = (baselines or {}).get(task, NONE)
    if not level.is_below(reached := reference.mean(VALUE)):
        raise UserError(
            f"none: on {task} {reference.name} reaches {VALUE.show(reached)}, "
            f"{level.not_below(reached)}, so there is nothing that a method could keep: train "
            "longer, or on more rows"
        )
    interval = Resampled([reference], folder).interval(reference)
    if interval and not level.is_told_below(reached, interval):
        raise UserError(
            f"none: on {task} {reference.name} reaches {VALUE.show(reached)}, "
            f"{level.not_told(interval)}, so what keeps up with it may have learned nothing: train "
            "longer, on more rows, or test on more"
        )
    every = rivals(tasks[task])
    dropping = [point for point in every if not point.drops_nothing]
    if every and not dropping:
        raise UserError(
            f"none: of {len(every)} points on {task} none drops anything, so none is faster than "
            f"{reference.name}: give the methods settings that drop more"
        )
    others = _with_seeds_of(reference, dropping)
    faster = [point for point in others if _is_faster(point, min_speedup)]
    # a loss of exactly the limit is within it, whatever its last binary digit
    within = [p for p in faster if _dev_value(reference) - _dev_value(p) <= max_loss + 1e-9]
    if not within:
        raise UserError(_none(faster, others, reference, max_loss, min_speedup, task))
    point = max(within, key=lambda p: p.mean(CLOCK))
    on_dev = _as_on_dev(point), _as_on_dev(reference)
    return Choice(
        point=point,
        reference=reference,
        run=max(point.runs, key=lambda run: run.dev.value if run.dev else 0.0),
        loss=_dev_value(reference) - _dev_value(point),
        on_dev=Resampled(on_dev, folder).difference(*on_dev),
        on_test=Resampled([point, reference], folder).difference(point, reference),
    )


def _with_seeds_of(reference: Point, points: Sequence[Point]) -> list[Point]:
    """The points whose means are over the seeds of the reference: others differ by these, too."""
    same = [point for point in points if point.seeds == reference.seeds]
    if len(same) < len(points):
        left_out = ", ".join([point.name for point in points if point.seeds != reference.seeds])
        said = f"{left_out} cannot be held against {reference.name}, which has run with other seeds"
        cure = "run the comparison again, which makes the runs that are missing"
        if not same:
            raise UserError(f"none: {said}: {cure}")
        log.warning("left out: %s: %s", said, cure)
    return same


def _dev_value(point: Point) -> float:
    assert point.on_dev is not None
    return point.on_dev.value


def _is_faster(point: Point, min_speedup: float) -> bool:
    return point.mean(CLOCK) >= min_speedup and point.mean(CLOCK) > 1 + point.noise(CLOCK)


def _as_on_dev(point: Point) -> Point:
    """The point with its answers to the dev split in the place of those to the test split."""
    return replace(point, runs=tuple(_run_on_dev(run) for run in point.runs))


def _run_on_dev(run: Record) -> Record:
    assert run.dev is not None
    return replace(
        run,
        value=run.dev.value,
        metrics=run.dev.metrics,
        examples_eval=run.dev.examples,
        predictions_file=run.dev.predictions_file,
    )


def _none(
    faster: Sequence[Point],
    others: Sequence[Point],
    reference: Point,
    max_loss: float,
    min_speedup: float,
    task: str,
) -> str:
    """Why nothing qualifies, and what comes nearest."""
    asked = f"at least {min_speedup:g}x as fast" if min_speedup > 1 else "faster by the clock"
    if not faster:
        none = f"none: of {len(others)} points on {task} none is {asked}"
        best = max(others, key=lambda point: point.mean(CLOCK), default=None)
        if best is None:
            return none
        nearest = f"{best.name} at {CLOCK.show(best.mean(CLOCK))}"
        if best.mean(CLOCK) < min_speedup or best.mean(CLOCK) <= 1:
            return f"{none}; the fastest is {nearest}"
        return (
            f"{none} beyond the noise of the clock; the fastest is {nearest}, "
            f"±{best.noise(CLOCK):.2f}: time it again on a quiet machine, with more clock.rounds"
        )
    near, reached = max(faster, key=_dev_value), _dev_value(reference)
    return (
        f"none: of {len(faster)} points on {task} that are {asked} none loses at most "
        f"{100 * max_loss:g} points of {near.runs[0].metric} on dev against {reference.name} "
        f"({VALUE.show(reached)}); the nearest is {near.name}, which loses "
        f"{100 * (reached - _dev_value(near)):.2f} at {CLOCK.show(near.mean(CLOCK))}: allow more "
        "with --max-loss, or tune the methods"
    )
