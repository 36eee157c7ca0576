"""What the figures have in common: axes, legends, and how they are saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import cycle, groupby
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from tokendrop.compare.results.points import Point
from tokendrop.compare.results.records import Record
from tokendrop.files import whole_file
from tokendrop.themes import Theme

Drawing = Callable[[Path | BytesIO, Theme], None]
"""Draws a figure into a PNG file, or as SVG into a buffer."""

DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))


def save(build: Callable[[Theme], Figure], path: Path | BytesIO, theme: Theme) -> None:
    """Draw into a PNG file, or as SVG into a buffer."""
    with rc_context(theme.style()):
        figure = build(theme)
        if isinstance(path, BytesIO):
            figure.savefig(path, format="svg", metadata={"Date": None})
        else:
            with whole_file(path) as draft:
                figure.savefig(draft, format="png")


def subplots(number: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes, three beside each other at most."""
    across = 2 if number == 4 else min(number, 3)
    down = -(-number // across)
    # one alone stands narrow enough to be read on a phone
    width = 5.7 if across == 1 else 5 * across
    figure = Figure(figsize=(width, height * down), layout="constrained")
    return figure, [figure.add_subplot(down, across, 1 + i) for i in range(number)]


def metric_axis(axes: Axes, record: Record, split: str) -> None:
    """Label the axis of the metric, whose values are in per cent."""
    axes.set_ylabel(f"{record.metric.replace('_', ' ').capitalize()}, {split} split")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """A legend below all axes, which keep their height; the figure is as wide as its names."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, int(figure.get_figwidth() / (0.75 + 0.08 * longest)))
    figure.set_figheight(figure.get_figheight() + 0.22 * -(-len(handles) // columns))
    below = figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=10)
    needed = below.get_window_extent().width / figure.dpi + 0.2
    figure.set_figwidth(max(figure.get_figwidth(), needed))


def dashes(of_task: Sequence[Point]) -> list[tuple[Point, Any]]:
    """Each point with a dash pattern that tells it from the other points of its method."""
    return [
        (point, dash)
        for _, mine in groupby(of_task, key=lambda point: point.method)
        for point, dash in zip(mine, cycle(DASHES), strict=False)
    ]
