"""The dense model in engines that people deploy: told apart from the methods, and held against
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokendrop.compare.results.points import Point, dense_point, rivals
from tokendrop.compare.results.resampled import Difference, Resampled
from tokendrop.measure.measures import LATENCY, Measure
from tokendrop.measure.measures import THROUGHPUT_UNPADDED as CLOCK


@dataclass(frozen=True)
class EngineStanding:
    """An engine on a task, in the faster of its two orders.

    Attributes:
        point: its runs.
        faster: the measures of the clock by which it is faster than packed dense, by more than
            their noise.
        to_dense: how much better than dense it is; None where they cannot be paired.
        beaten: points of methods that it is faster than at 32 rows, beyond the noise of both, and
            that are not told to be better than it.
        kept: points of methods that are not.
    """

    point: Point
    faster: list[Measure]
    to_dense: Difference | None
    beaten: list[Point]
    kept: list[Point]


def engine_standings(
    of_task: Sequence[Point], resampled: Resampled, judged: bool = True
) -> list[EngineStanding]:
    """The engines of one task.

    Args:
        of_task: all points of the task.
        resampled: the same.
        judged: whether dense has learned anything, so that it means something to be as good.
    """
    dense, methods = dense_point(of_task), rivals(of_task)
    by_engine: dict[str, list[Point]] = {}
    for point in of_task:
        if point.engine:
            by_engine.setdefault(point.method, []).append(point)
    found = []
    for orders in by_engine.values():
        point = max(orders, key=lambda one: one.mean(CLOCK))
        beaten = [one for one in methods if judged and _beats(point, one, resampled)]
        found.append(
            EngineStanding(
                point=point,
                faster=[m for m in (CLOCK, LATENCY) if point.mean(m) > 1 + point.noise(m)],
                to_dense=resampled.difference(point, dense) if dense and judged else None,
                beaten=beaten,
                kept=[one for one in methods if one not in beaten],
            )
        )
    return found


def _beats(engine: Point, method: Point, resampled: Resampled) -> bool:
    noise = max(engine.noise(CLOCK), method.noise(CLOCK))
    if engine.mean(CLOCK) <= method.mean(CLOCK) * (1 + noise):
        return False
    difference = resampled.difference(engine, method)
    # without answers of both with the same seeds nobody can tell which is worse
    return difference is not None and difference.high >= 0
