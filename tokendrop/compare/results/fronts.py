"""The trade-off of a whole method: how much of it, and what it gives at a given budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from moocore import hypervolume

from tokendrop.compare.results.baseline import NONE, Baselines
from tokendrop.compare.results.points import Point, by_task, dense_point, rivals
from tokendrop.compare.results.records import Record
from tokendrop.measure.measures import FLOPS_UNPADDED, VALUE

SHARES = (0.75, 0.5, 0.25)  # of dense FLOPs, at which methods are compared
LOSSES = (0.01, 0.02)  # of the metric, at which methods are compared

CAPTION = (
    "What the points of a method give together, chosen and measured on test, without intervals. "
    "The metric on the straight line between the two nearest points of its front, and the FLOPs, "
    "as a share of the packed dense model's, at a given loss against it; nothing outside the range "
    "that was measured. Hypervolume: the area between the front and the reference point of all "
    "FLOPs and the metric of the floor, which is TF-IDF or always the same answer: the mean over "
    "all budgets of what a method reaches above that; more is better, and 0 is no better than the "
    "floor."
)


@dataclass(frozen=True)
class MethodFront:
    """The points of a method on a task that none of its others beats.

    Attributes:
        points: how many of the method were measured.
        shares: FLOPs as shares of the packed dense model's, growing.
        values: the metric beside them, growing.
        hypervolume: area between the front and the reference point: all of dense FLOPs, and the
            metric of the task's baseline. The mean over all budgets from 0 to 1 of the metric above
            it, counted as 0 below the cheapest point.
        at_share: for each of SHARES the metric, None outside the measured range.
        at_loss: for each of LOSSES below dense the share of FLOPs, None outside the measured range.
    """

    task: str
    method: str
    points: int
    shares: tuple[float, ...]
    values: tuple[float, ...]
    hypervolume: float
    at_share: dict[float, float | None]
    at_loss: dict[float, float | None]


def fronts(records: Sequence[Record], baselines: Baselines | None = None) -> list[MethodFront]:
    """The front of every method that drops anything, from means over the seeds.

    Args:
        records: of a comparison.
        baselines: what needs no encoder, by task; a metric of 0 where none is given.
    """
    found = []
    for task, of_task in by_task(records).items():
        dense = dense_point(of_task)
        floor = (baselines or {}).get(task, NONE).value
        methods = rivals(of_task)
        for method in dict.fromkeys(point.method for point in methods):
            mine = [point for point in methods if point.method == method]
            found.append(_front(task, method, mine, dense, floor))
    return found


def _front(
    task: str, method: str, mine: Sequence[Point], dense: Point | None, floor: float
) -> MethodFront:
    shares = [1 / point.mean(FLOPS_UNPADDED) for point in mine]
    values = [point.mean(VALUE) for point in mine]
    best = pareto_front([-share for share in shares], values)[::-1]
    # equals are both on a front, but a curve passes through them once
    curve = sorted({(shares[i], values[i]) for i in best})
    x, y = (tuple(side) for side in zip(*curve, strict=True))
    reached = None if dense is None else dense.mean(VALUE)
    return MethodFront(
        task=task,
        method=method,
        points=len(mine),
        shares=x,
        values=y,
        hypervolume=front_hypervolume(x, y, floor),
        at_share={share: interpolated(share, x, y) for share in SHARES},
        at_loss={
            loss: None if reached is None else interpolated(reached - loss, y, x) for loss in LOSSES
        },
    )


def pareto_front(saved: Sequence[float], quality: Sequence[float]) -> list[int]:
    """Indices of the points that no other beats, by growing saving; both are better when larger.

    A point is beaten by one that is at least as good in both and better in one, so equals stay.

    >>> pareto_front([1.0, 2.0, 2.0, 3.0], [0.9, 0.8, 0.7, 0.8])
    [0, 3]
    """
    pairs = list(zip(saved, quality, strict=True))
    front = [
        i
        for i, (x, y) in enumerate(pairs)
        if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in pairs)
    ]
    return sorted(front, key=lambda i: pairs[i])


def front_hypervolume(
    shares: Sequence[float], values: Sequence[float], floor: float = 0.0
) -> float:
    """Hypervolume of points against the reference point: a share of 1, the metric of the floor."""
    objectives = np.column_stack([shares, np.negative(values)])
    return float(hypervolume(objectives, ref=[1.0, -floor]))


def interpolated(at: float, x: Sequence[float], y: Sequence[float]) -> float | None:
    """y at a place on the line through points of growing x; None outside them."""
    if not x[0] <= at <= x[-1]:
        return None
    return float(np.interp(at, x, y))


def fronts_frame(records: Sequence[Record], baselines: Baselines | None = None) -> pd.DataFrame:
    """One row per method and task, as text, without the columns that say nothing."""
    rows = []
    found = fronts(records, baselines)
    for front in found:
        at_share = {
            f"At {100 * share:.0f} % FLOPs": "" if value is None else f"{100 * value:.2f} %"
            for share, value in front.at_share.items()
        }
        at_loss = {
            f"FLOPs at -{100 * loss:.0f} points": "" if share is None else f"{100 * share:.0f} %"
            for loss, share in front.at_loss.items()
        }
        row = {"Task": front.task, "Method": front.method, "Points": str(front.points)}
        rows.append(row | {"Hypervolume": f"{front.hypervolume:.4f}"} | at_share | at_loss)
    frame = pd.DataFrame(rows)
    alike = ["Task"] if len({front.task for front in found}) == 1 else []
    unknown = [column for column in frame if (frame[column] == "").all()]
    return frame.drop(columns=alike + unknown)
