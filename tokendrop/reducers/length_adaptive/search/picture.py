"""The picture of a search: everything evaluated, where it began, and the front as it moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tokendrop.files import whole_file
from tokendrop.reducers.length_adaptive.search.front import Candidate, Front
from tokendrop.themes import LIGHT


def write_picture(front: Front, metric: str, path: Path) -> None:
    """Write the picture as PNG."""
    first, best = LIGHT.methods[1], LIGHT.methods[0]
    with rc_context(LIGHT.style()):
        figure = Figure(figsize=(7.5, 4.8), layout="constrained")
        axes = figure.add_subplot()
        axes.scatter(*_xy(front.evaluated), s=8, color=LIGHT.faint, label="evaluated", zorder=1)
        past = front.history[1:-1]
        for number, points in enumerate(past, start=1):
            fade = 0.1 + 0.4 * number / len(past)
            axes.step(*_xy(points), where="post", color=best, alpha=fade, lw=0.8, zorder=2)
        axes.plot(*_xy(front.constant), "s--", ms=5, color=first, label="constant ratios", zorder=3)
        axes.step(*_xy(front.points), where="post", color=best, zorder=4)
        label = f"front after {len(front.history) - 1} generations"
        axes.plot(*_xy(front.points), "o", ms=5, color=best, label=label, zorder=5)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("FLOPs, share of the full model on the same unpadded rows")
        axes.set_ylabel(f"{metric} on {front.rows} rows")
        axes.set_title("Length configurations found by the search")
        axes.legend(loc="lower right")
        with whole_file(path) as draft:
            figure.savefig(draft, format="png")


def _xy(points: Sequence[Candidate]) -> tuple[list[float], list[float]]:
    ordered = sorted(points, key=lambda point: point.share)
    return [point.share for point in ordered], [point.score for point in ordered]
