"""The model of a comparison that is fastest among those that lose little: chosen on dev."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokendrop.compare.results.records import Point, Record, by_task
from tokendrop.compare.results.statistics import Difference, difference
from tokendrop.errors import UserError, unknown
from tokendrop.measure.measures import THROUGHPUT_UNPADDED as CLOCK
from tokendrop.measure.measures import VALUE


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
) -> Choice:
    """The fastest point that loses little on dev.

    Fast is by the clock at 32 rows against the same encoder with nothing dropped, mean over the
    seeds; what is within the noise of that measurement is not faster. No answer on the test split
    has a part in the choice.

    Args:
        records: of a comparison.
        folder: where their predictions lie.
        max_loss: largest loss of the metric on dev, as a share: 0.01 is one point.
        min_speedup: smallest speed-up.
        task: which one, where the comparison has several.

    Raises:
        UserError: no point qualifies, no such task, several tasks, runs without dev figures or
            without a model that drops nothing.
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
    references = [point for point in tasks[task] if point.runs[0].is_reference]
    if not references:
        raise UserError(f"{folder} has no dense model on {task} to compare with: add the method")
    reference = max(references, key=_dev_value)
    others = [point for point in tasks[task] if not point.runs[0].is_reference]
    faster = [point for point in others if _is_faster(point, min_speedup)]
    # a loss of exactly the limit is within it, whatever its last binary digit
    within = [p for p in faster if _dev_value(reference) - _dev_value(p) <= max_loss + 1e-9]
    if not within:
        raise UserError(_none(faster, others, reference, max_loss, min_speedup, task))
    point = max(within, key=lambda p: p.mean(CLOCK))
    mine, theirs = ([_as_on_dev(run) for run in side.runs] for side in (point, reference))
    return Choice(
        point=point,
        reference=reference,
        run=max(point.runs, key=lambda run: run.dev.value if run.dev else 0.0),
        loss=_dev_value(reference) - _dev_value(point),
        on_dev=difference(mine, theirs, folder),
        on_test=difference(point.runs, reference.runs, folder),
    )


def _dev_value(point: Point) -> float:
    return sum(run.dev.value for run in point.runs if run.dev) / len(point.runs)


def _is_faster(point: Point, min_speedup: float) -> bool:
    noise = max(run.clock_noise for run in point.runs)
    return point.mean(CLOCK) >= min_speedup and point.mean(CLOCK) > 1 + noise


def _as_on_dev(run: Record) -> Record:
    """The run with its answers to the dev split in the place of those to the test split."""
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
        best = max(others, key=lambda point: point.mean(CLOCK), default=None)
        nearest = f"; the fastest is {best.name} at {CLOCK.show(best.mean(CLOCK))}" if best else ""
        return f"none: of {len(others)} points on {task} none is {asked}{nearest}"
    near, reached = max(faster, key=_dev_value), _dev_value(reference)
    return (
        f"none: of {len(faster)} points on {task} that are {asked} none loses at most "
        f"{100 * max_loss:g} points of {near.runs[0].metric} on dev against {reference.name} "
        f"({VALUE.show(reached)}); the nearest is {near.name}, which loses "
        f"{100 * (reached - _dev_value(near)):.2f} at {CLOCK.show(near.mean(CLOCK))}: allow more "
        "with --max-loss, or tune the methods"
    )
