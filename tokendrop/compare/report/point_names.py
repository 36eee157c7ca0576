"""Names of operating points, written where a figure has room for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox

from tokendrop.compare.results.records import Point
from tokendrop.measure.measures import VALUE, Measure


def name_points(
    axes: Axes, of_task: Sequence[Point], saving: Measure, looks: dict[str, tuple[str, str]]
) -> None:
    """Write each point's name where it covers the fewest lines, points and names.

    A method with one operating point gives it its own name.
    """
    taken: list[Bbox] = []
    alone = Counter(point.method for point in of_task)
    drawn = np.concatenate([_along(line) for line in axes.lines])
    frame = axes.get_window_extent()
    places = [(point.mean(saving), 100 * point.mean(VALUE)) for point in of_task]
    points: list[Any] = list(axes.transData.transform(places)) if places else []
    for point, place in zip(of_task, places, strict=True):
        name = axes.annotate(
            point.method if alone[point.method] == 1 else point.operating_point,
            place,
            (0, 0),
            textcoords="offset points",
            color=looks[point.method][0],
            fontsize=9.5,
            path_effects=[withStroke(linewidth=3, foreground=axes.get_facecolor())],
            zorder=4,
            in_layout=False,
        )

        def cost(at: tuple[int, int, int], name: Any = name) -> float:
            _put(name, at)
            box = name.get_window_extent().padded(3)
            inside = np.all((drawn > box.min) & (drawn < box.max), axis=1).sum()
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0
            mine = _gap(box, axes.transData.transform(name.xy))
            nearer = sum(_gap(box, other) < mine for other in points)
            overlaps = 80 * box.count_overlaps(taken)
            return float(inside + overlaps + 400 * outside + 12 * nearer + at[2])

        best = min(PLACES, key=cost)
        _put(name, best)
        taken.append(name.get_window_extent().padded(2))
        if best[2] > NEAR:
            axes.annotate(
                "",
                name.xy,
                name.xyann,
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": name.get_color(), "lw": 0.7, "shrinkA": 0},
                in_layout=False,
            )


NEAR = 14  # points; a name further away needs a line to its point
PLACES = [
    (x, y, distance)
    for distance in (8, 14, 22, 34, 48)
    for x, y in ((1, 1), (-1, -1), (1, -1), (-1, 1), (1, 0), (-1, 0), (0, 1), (0, -1))
]


def _gap(box: Bbox, point: Any) -> float:
    """Pixels between a box and a point."""
    outside = np.maximum(0, np.maximum(box.min - point, point - box.max))
    return float(np.hypot(*outside))


def _put(name: Any, place: tuple[int, int, int]) -> None:
    x, y, distance = place
    name.xyann = (x * distance, y * distance)
    name.set_ha(("center", "left", "right")[x])
    name.set_va(("center", "bottom", "top")[y])


def _along(line: Line2D) -> Any:
    """Pixels close together along a line of the figure, its points several times."""
    ends = line.get_transform().transform(line.get_xydata())
    steps = np.linspace(0, 1, 60)[:, None]
    pieces = [a + steps * (b - a) for a, b in pairwise(ends)]
    return np.concatenate([np.repeat(ends, 8, axis=0), *pieces])
