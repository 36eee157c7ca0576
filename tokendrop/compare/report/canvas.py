"""What the figures have in common: axes, legends, and how they are saved."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle, groupby, product
from pathlib import Path
from textwrap import fill
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from tokendrop.compare.report.looks import Look
from tokendrop.compare.results.points import Point
from tokendrop.compare.results.records import Record
from tokendrop.files import whole_file
from tokendrop.themes import Theme

log = logging.getLogger(__name__)

Drawing = Callable[[Path | BytesIO, Theme], None]
"""Draws a figure into a PNG file, or as SVG into a buffer."""

DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
HOLLOW = "hollow"
FILLS = ("full", HOLLOW, "left", "bottom")
"""How much of a marker is filled: as matplotlib names it, or nothing."""
WIDEST = 36
"""Characters of a line of text that fit the width of axes."""


def save(build: Callable[[Theme], Figure], path: Path | BytesIO, theme: Theme) -> None:
    """Draw into a PNG file, or as SVG into a buffer."""
    with rc_context(theme.style()), _boxes_are_said():
        figure = build(theme)
        if isinstance(path, BytesIO):
            figure.savefig(path, format="svg", metadata={"Date": None})
        else:
            with whole_file(path) as draft:
                figure.savefig(draft, format="png")


@contextmanager
def _boxes_are_said() -> Iterator[None]:
    """One line in the place of a warning for each letter that is drawn as a box."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message="Glyph ")
        yield
    of_letters = [one for one in caught if str(one.message).startswith("Glyph ")]
    if of_letters:
        log.warning(
            "figures show boxes for letters that no font of this machine has: install one, "
            "e.g. Noto Sans CJK, and write the report again"
        )
    for other in (one for one in caught if one not in of_letters):
        warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)


def subplots(number: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes, three beside each other at most."""
    across = 2 if number == 4 else min(number, 3)
    down = -(-number // across)
    # one alone stands narrow enough to be read on a phone
    width = 5.7 if across == 1 else 5 * across
    figure = Figure(figsize=(width, height * down), layout="constrained")
    return figure, [figure.add_subplot(down, across, 1 + i) for i in range(number)]


def title(axes: Axes, text: str, **settings: Any) -> None:
    """Write a title above axes, on as many lines as it takes."""
    axes.set_title(fill(text, WIDEST), loc="left", **settings)


def metric_axis(axes: Axes, record: Record, split: str) -> None:
    """Label the axis of the metric, whose values are in per cent."""
    axes.set_ylabel(f"{record.metric.replace('_', ' ').capitalize()}, {split} split")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))


def legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """A legend below all axes, which keep their height; the figure is as wide as its names."""
    columns = _columns(handles, figure.get_figwidth())
    figure.set_figheight(figure.get_figheight() + 0.22 * -(-len(handles) // columns))
    below = figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=10)
    needed = below.get_window_extent().width / figure.dpi + 0.2
    figure.set_figwidth(max(figure.get_figwidth(), needed))


def legends(figure: Figure, handles: Sequence[Sequence[Line2D]]) -> None:
    """A legend below each of the axes, which keep their height; it is no wider than they are."""
    height = 0.0
    for axes, of_axes in zip(figure.axes, handles, strict=True):
        below = axes.legend(
            of_axes,
            [fill(str(handle.get_label()), WIDEST) for handle in of_axes],
            loc="upper center",
            # below the label of the axis, which is half an inch high
            bbox_to_anchor=(0.5, -0.2),
            ncols=_columns(of_axes, 4.2),
            fontsize=9,
        )
        height = max(height, below.get_window_extent().height / figure.dpi)
    grid: Any = figure.axes[0].get_gridspec()
    figure.set_figheight(figure.get_figheight() + height * grid.nrows)


def _columns(handles: Sequence[Line2D], inches: float) -> int:
    """How many names of a legend stand beside each other."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    return max(1, int(inches / (0.75 + 0.08 * longest)))


def strokes(
    points: Iterable[Point], looks: Mapping[str, Look], theme: Theme
) -> dict[tuple[str, str], dict[str, Any]]:
    """The settings of the line of each method's operating points, the same on all tasks.

    A line has the colour of its method, and of the method's lines its own dashes or markers.
    """
    names = dict.fromkeys((point.method, point.operating_point) for point in points)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for method, mine in groupby(names, key=lambda name: name[0]):
        color = looks[method][0]
        # the dashes change first
        for name, (filled, dash) in zip(mine, cycle(product(FILLS, DASHES)), strict=False):
            found[name] = {
                "color": color,
                "ls": dash,
                "fillstyle": "full" if filled == HOLLOW else filled,
                "mfc": theme.background if filled == HOLLOW else color,
                "mfcalt": theme.background,
                "mec": theme.background if filled == "full" else color,
            }
    return found
