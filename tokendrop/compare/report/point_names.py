"""Names of operating points, written where a figure has room for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from tokendrop.compare.report.looks import Look
from tokendrop.compare.results.points import Point
from tokendrop.measure.measures import VALUE, Measure

Pixels = NDArray[np.float64]
"""(n, 2) places of the figure; of boxes (n, 4), their lower left and upper right corners."""

NEAR = 14  # points; a name further away needs a line to its point
NEVER = 1000  # a factor for what a name may do only where every other place is worse
SIDES = ((1, 1), (-1, -1), (1, -1), (-1, 1), (1, 0), (-1, 0), (0, 1), (0, -1))
HALVES = ((1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5), (0.5, 1), (-0.5, 1), (0.5, -1), (-0.5, -1))
PLACES = np.array(
    [
        *((x, y, distance) for distance in (8, 14, 22, 34, 48) for x, y in SIDES),
        *((x, y, distance) for distance in (48, 64, 82, 104, 130) for x, y in (*HALVES, *SIDES)),
    ]
)
"""Where a name may stand: the direction from its point, and how far, in points."""
OUTWARDS = np.array([-1, -1, 1, 1])


def name_points(
    axes: Axes, of_task: Sequence[Point], saving: Measure, looks: dict[str, Look]
) -> None:
    """Write each point's name where it covers no other name and no bar, and few lines and points.

    A method with one operating point gives it its own name. A point for whose name there is no room
    has none: the tables name it.
    """
    taken = np.empty((0, 4))
    alone = Counter(point.method for point in of_task)
    lines, bars = _along(axes.lines), _along_bars(axes)
    frame = axes.get_window_extent()
    places = [(point.mean(saving), 100 * point.mean(VALUE)) for point in of_task]
    points = axes.transData.transform(np.reshape(places, (-1, 2)))
    for point, place, pixel in zip(of_task, places, points, strict=True):
        name: Any = axes.annotate(
            _name(point, alone[point.method] == 1),
            place,
            (0, 0),
            textcoords="offset points",
            color=looks[point.method][0],
            fontsize=9.5,
            path_effects=[withStroke(linewidth=3, foreground=axes.get_facecolor())],
            zorder=4,
            in_layout=False,
        )
        box = name.get_window_extent()
        boxes = _boxes(pixel, box.width, box.height, axes.figure.dpi / 72)
        wide = boxes + 3 * OUTWARDS
        outside = ((wide[:, :2] < frame.min) | (wide[:, 2:] > frame.max)).any(1)
        gaps = _gaps(wide, points)
        nearer = (gaps < _gaps(wide, pixel[None])).sum(1)
        overlapping = _overlapping(wide, taken)
        covered = 80 * overlapping + _inside(wide, bars)
        cost = _inside(wide, lines) + NEVER * (covered + 40 * outside) + 12 * nearer + PLACES[:, 2]
        best = int(cost.argmin())
        if overlapping[best] or outside[best]:
            name.remove()
            continue
        taken = np.concatenate([taken, boxes[best : best + 1] + 2 * OUTWARDS])
        x, y, distance = PLACES[best].tolist()
        name.xyann = (x * distance, y * distance)
        name.set_ha(("center", "left", "right")[round(x)])
        name.set_va(("center", "bottom", "top")[round(y)])
        if distance > NEAR:
            axes.annotate(
                "",
                name.xy,
                name.xyann,
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": name.get_color(), "lw": 0.7, "shrinkA": 0},
                in_layout=False,
            )


def _name(point: Point, alone: bool) -> str:
    if point.engine:
        return f"{point.engine}, {point.operating_point}"
    return point.method if alone else point.operating_point


def _boxes(point: Pixels, width: float, height: float, scale: float) -> Pixels:
    """The box of a name of this size at each of PLACES."""
    sides = PLACES[:, :2]
    anchors = point + scale * sides * PLACES[:, 2:]
    # a side rounds to the middle, the start or the end of the name
    size = np.array([width, height])
    corners = anchors + (np.round(sides) - 1) / 2 * size
    return np.concatenate([corners, corners + size], axis=1)


def _gaps(boxes: Pixels, points: Pixels) -> Pixels:
    """(boxes, points) pixels between each box and each point."""
    low, high = boxes[:, None, :2] - points, points - boxes[:, None, 2:]
    return np.asarray(np.hypot(*np.moveaxis(np.maximum(0, np.maximum(low, high)), -1, 0)))


def _inside(boxes: Pixels, pixels: Pixels) -> Pixels:
    """How many of the pixels lie in each box."""
    reached = (pixels > boxes[:, :2].min(0)) & (pixels < boxes[:, 2:].max(0))
    pixels = pixels[reached.all(1)]
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    return np.asarray(((pixels > low) & (pixels < high)).all(-1).sum(1))


def _overlapping(boxes: Pixels, taken: Pixels) -> Pixels:
    """How many of the taken boxes each box overlaps."""
    low = boxes[:, None, :2] < taken[:, 2:]
    high = boxes[:, None, 2:] > taken[:, :2]
    return np.asarray((low & high).all(-1).sum(1))


def _along(lines: Sequence[Line2D]) -> Pixels:
    """Pixels close together along lines of the figure, their points several times."""
    found = [np.empty((0, 2))]
    for line in lines:
        ends: Any = line.get_transform().transform(line.get_xydata())
        found += [np.repeat(ends, 8, axis=0), *(_between(*pair) for pair in pairwise(ends))]
    return np.concatenate(found)


def _along_bars(axes: Axes) -> Pixels:
    """Pixels close together along each error bar."""
    found = [np.empty((0, 2))]
    for bars in axes.collections:
        if isinstance(bars, LineCollection):
            ends = [axes.transData.transform(bar) for bar in bars.get_segments()]
            found += [_between(*pair) for pair in ends]
    return np.concatenate(found)


def _between(one: Any, other: Any) -> Pixels:
    return np.asarray(one + np.linspace(0, 1, 60)[:, None] * (other - one))
