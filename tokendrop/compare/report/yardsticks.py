"""What engines that people deploy give beside the methods, in a few sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from tokendrop.compare.report.tables import show_gap
from tokendrop.compare.report.verdict import enumerated
from tokendrop.compare.results.engines import EngineStanding
from tokendrop.compare.results.points import Point
from tokendrop.compare.results.resampled import Difference
from tokendrop.measure.measures import LATENCY, THROUGHPUT_UNPADDED, Measure

WORDS = {THROUGHPUT_UNPADDED: "{} at 32 rows", LATENCY: "{} on one row"}


def yardsticks(standings: Sequence[EngineStanding]) -> Iterator[str]:
    """Of each engine whether it beats packed dense by the clock, and which methods it beats."""
    slow = [one for one in standings if not one.faster]
    for task, of_task in groupby(slow, key=lambda one: one.point.task):
        names = enumerated([one.point.title for one in of_task])
        yield f"On {task} packed dense is not slower than {names} by more than the clock's noise."
    for one in standings:
        if one.faster:
            yield _faster(one)
        if one.beaten:
            yield (
                f"On {one.point.task} {one.point.name} is faster at 32 rows than "
                f"{_methods(one)}, and not told to be worse."
            )


def _faster(one: EngineStanding) -> str:
    point = one.point
    speed = enumerated([WORDS[measure].format(_shown(point, measure)) for measure in one.faster])
    sentence = f"On {point.task} {point.name} beats packed dense by the clock: {speed}"
    return sentence + (f"; {_lost(one.to_dense)}." if one.to_dense else ".")


def _shown(point: Point, measure: Measure) -> str:
    return f"{measure.show(point.mean(measure))} ±{point.noise(measure):.2f}"


def _lost(found: Difference) -> str:
    interval = f"{show_gap(found.low)} to {show_gap(found.high)}"
    if found.low <= 0 <= found.high:
        return f"its answers cannot be told from those of dense ({interval} points)"
    verb = "loses" if found.value < 0 else "gains"
    return f"it {verb} {100 * abs(found.value):.2f} points ({interval})"


def _methods(one: EngineStanding) -> str:
    others = {point.method for point in one.kept}
    names = []
    for method, points in groupby(one.beaten, key=lambda point: point.method):
        which = ", ".join(point.operating_point for point in points)
        names.append(f"{method} ({which})" if method in others else f"every point of {method}")
    return enumerated(names)
