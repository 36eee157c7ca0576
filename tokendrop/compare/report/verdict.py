"""What the numbers say, in a few sentences that claim nothing the numbers do not."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tokendrop.compare.results.records import (
    DENSE,
    Point,
    Record,
    by_task,
    dense_point,
    gap,
    ordered,
)
from tokendrop.compare.results.statistics import NOTHING, Statistics
from tokendrop.measure.measures import FLOPS_UNPADDED as FLOPS
from tokendrop.measure.measures import THROUGHPUT_UNPADDED as CLOCK
from tokendrop.measure.measures import VALUE


def verdict(records: Sequence[Record], statistics: Statistics = NOTHING) -> list[str]:
    """Two sentences for each task, and one on how far they can be trusted.

    They name the fastest points near dense, or say that none is.

    Near is within 1 and within 2 points of the dense model of the same task. Speed-ups are on the
    unpadded base, and one on the clock counts only where it is above the noise of its measurement.
    A difference within its interval, or without one within the noise, is called that.
    """
    sentences = []
    for task, of_task in by_task(records).items():
        dense = dense_point(of_task)
        if dense is None:
            sentences.append(f"On {task} the dense model has not run, so nothing can be compared.")
            continue
        first = dense.runs[0]
        value = VALUE.show(dense.mean(VALUE))
        sentences.append(
            f"On {task} the dense model reaches {value} {first.metric} on the "
            f"{first.examples_eval:,} rows of the test split."
        )
        one, two = (
            _fastest(_within(budget, of_task, dense), dense, statistics) for budget in (1, 2)
        )
        if one == two:
            sentences.append(f"Within 1 and within 2 points of it {one}.")
        else:
            sentences.append(f"Within 1 point of it {one}; within 2 points {two}.")
    return [*sentences, _doubt(records, statistics)]


def _within(budget: int, of_task: Sequence[Point], dense: Point) -> list[Point]:
    # a loss of exactly the budget is within it, whatever its last binary digit
    limit = -0.01 * budget - 1e-9
    return [p for p in of_task if p.method != DENSE and gap(p, dense) >= limit]


def _fastest(near: Sequence[Point], dense: Point, statistics: Statistics) -> str:
    timed = [p for p in near if p.mean(CLOCK) > 1 + max(run.clock_noise for run in p.runs)]
    counted = [p for p in near if p.mean(FLOPS) > 1]
    clock = max(timed, key=lambda p: p.mean(CLOCK), default=None)
    flops = max(counted, key=lambda p: p.mean(FLOPS), default=None)
    names = {point.key: _described(point, dense, statistics) for point in (clock, flops) if point}
    if clock is not None and clock is flops:
        return (
            f"the fastest is {names[clock.key]}: {CLOCK.show(clock.mean(CLOCK))} the rows per "
            f"second as measured, {FLOPS.show(clock.mean(FLOPS))} fewer FLOPs"
        )
    on_clock = (
        f"the fastest on the clock is {names[clock.key]}: {CLOCK.show(clock.mean(CLOCK))}"
        if clock
        else "no point is faster on the clock by more than the noise"
    )
    in_flops = (
        f"the fewest FLOPs has {names[flops.key]}: {FLOPS.show(flops.mean(FLOPS))} fewer"
        if flops
        else "no point saves FLOPs"
    )
    return f"{on_clock}, and {in_flops}"


def _described(point: Point, dense: Point, statistics: Statistics) -> str:
    better = gap(point, dense)
    size = f"{100 * abs(better):.2f}"
    if float(size) == 0:
        return f"{point.name}, level with dense{_certainty(point, dense, statistics)}"
    side = "below" if better < 0 else "above"
    return f"{point.name}, {size} points {side} dense{_certainty(point, dense, statistics)}"


def _certainty(point: Point, dense: Point, statistics: Statistics) -> str:
    """Whether the difference from dense is more than chance, as far as anything is known of it."""
    known = statistics.get(point.key)
    if known is not None and known.difference is not None:
        low, high = 100 * known.difference.low, 100 * known.difference.high
        text = f"95 % interval {low:+.2f} to {high:+.2f}"
        return f" ({text}, so no difference is shown)" if low <= 0 <= high else f" ({text})"
    noise, name = _noise(point, dense)
    if noise is None or abs(gap(point, dense)) > noise:
        return ""
    return f" (within {name} of {100 * noise:.1f} points)"


def _noise(point: Point, dense: Point) -> tuple[float | None, str]:
    """The size below which a difference is noise, in the metric's unit, and what it is called."""
    spreads = [spread for one in (point, dense) if (spread := one.std(VALUE)) is not None]
    if spreads:
        return max(spreads), "the deviation over the seeds"
    first = dense.runs[0]
    if first.metric != "accuracy":
        return None, ""
    return _standard_error(first), "the standard error"


def _standard_error(record: Record) -> float:
    return math.sqrt(record.value * (1 - record.value) / record.examples_eval)


def _doubt(records: Sequence[Record], statistics: Statistics) -> str:
    """How far the sentences before can be trusted."""
    seeds = {record.seed for record in records}
    if any({run.seed for run in p.runs} != seeds for ps in by_task(records).values() for p in ps):
        return "Not every point has run with every seed yet, so differences are provisional."
    if any(known.difference for known in statistics.values()):
        ran = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
        return f"With {ran}, a difference whose 95 % interval holds 0 may be chance alone."
    if len(seeds) > 1:
        return f"These are means over {len(seeds)} seeds, without a test of significance."
    smallest = min(ordered(records), key=lambda record: record.examples_eval)
    rows = smallest.examples_eval
    text = f"One seed only: one row of {rows:,} is {100 / rows:.2f} points"
    if smallest.metric == "accuracy":
        error = 100 * _standard_error(smallest)
        text += f", the standard error of one accuracy is about {error:.1f} points"
    return f"{text}, and differences of that size are not significant."
