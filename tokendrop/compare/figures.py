"""The pictures of a comparison: trade-off, kept tokens, training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from itertools import cycle, groupby, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox

from tokendrop.compare.records import DENSE, Point, Record, by_task, pareto_front
from tokendrop.compare.themes import LIGHT, Theme

Budget = Literal["flops", "throughput"]
Draw = Callable[[Path | BytesIO, Theme], None]

SAVING = {
    "flops": "Times fewer FLOPs than packed dense",
    "throughput": "Times more rows per second than packed dense",
}
MARKERS = "osD^vPX<>"
DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))


def trade_off(
    records: Sequence[Record], against: Budget, path: Path | BytesIO, theme: Theme = LIGHT
) -> None:
    """Quality against saved compute on the unpadded base: one panel per task, means over seeds."""
    _save(partial(_trade_off, records, f"{against}_speedup_unpadded", SAVING[against]), path, theme)


def kept_tokens(records: Sequence[Record], path: Path | BytesIO, theme: Theme = LIGHT) -> None:
    """The share of the original tokens that each layer processed: one panel per task."""
    _save(partial(_kept_tokens, records), path, theme)


def training_curves(records: Sequence[Record], path: Path | BytesIO, theme: Theme = LIGHT) -> None:
    """The metric on the dev split over the epochs of all stages: one panel per task and method."""
    _save(partial(_training, records), path, theme)


def drawings(records: Sequence[Record]) -> dict[str, Draw]:
    """The figures for which the records hold something to draw, by file name."""
    figures: dict[str, Draw] = {
        "trade_off_flops": partial(trade_off, records, "flops"),
        "trade_off_throughput": partial(trade_off, records, "throughput"),
        "kept_tokens": partial(kept_tokens, records),
    }
    if any(_segments(record) for record in records):
        figures["training"] = partial(training_curves, records)
    return figures


def write_figures(folder: Path, records: Sequence[Record]) -> dict[str, Path]:
    """Write every figure as PNG under ``folder/figures``; returns the files by name."""
    paths = {}
    for name, draw in drawings(records).items():
        paths[name] = folder / "figures" / f"{name}.png"
        draw(paths[name], LIGHT)
    return paths


def _save(build: Callable[[Theme], Figure], path: Path | BytesIO, theme: Theme) -> None:
    with rc_context(theme.style()):
        figure = build(theme)
        if isinstance(path, BytesIO):
            figure.savefig(path, format="svg", metadata={"Date": None})
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format="png")


def _panels(number: int, height: float) -> tuple[Figure, list[Axes]]:
    across = 2 if number == 4 else min(number, 3)
    down = -(-number // across)
    width = 6.4 if across == 1 else 5 * across
    figure = Figure(figsize=(width, height * down), layout="constrained")
    return figure, [figure.add_subplot(down, across, 1 + i) for i in range(number)]


def _looks(records: Sequence[Record], theme: Theme) -> dict[str, tuple[str, str]]:
    methods = sorted({record.method for record in records} - {DENSE})
    looks = {
        method: (theme.methods[i % len(theme.methods)], MARKERS[i % len(MARKERS)])
        for i, method in enumerate(methods)
    }
    return {DENSE: (theme.text, "*"), **looks}


def _metric_axis(axes: Axes, record: Record, split: str) -> float:
    """Label the quality axis so that up is better; returns the factor for its values."""
    axes.set_ylabel(f"{record.metric.replace('_', ' ').capitalize()}, {split} split")
    if not record.higher_is_better:
        axes.yaxis.set_inverted(True)
        return 1.0
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    return 100.0


def _legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, int(figure.get_figwidth() / (0.75 + 0.08 * longest)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=10)


def _trade_off(records: Sequence[Record], saving: str, label: str, theme: Theme) -> Figure:
    tasks = by_task(records)
    looks = _looks(records, theme)
    figure, panels = _panels(len(tasks), height=4.3)
    for axes, (task, of_task) in zip(panels, tasks.items(), strict=True):
        first = of_task[0].runs[0]
        scale = _metric_axis(axes, first, "test")
        axes.set_title(task, loc="left")
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        axes.margins(0.1, 0.14)
        xs = np.array([point.mean(saving) for point in of_task])
        ys = np.array([scale * point.mean("value") for point in of_task])
        front = pareto_front(list(xs), list(ys if first.higher_is_better else -ys))
        axes.step(xs[front], ys[front], where="pre", color=theme.faint, lw=5, alpha=0.55, zorder=1)
        for method, (color, marker) in looks.items():
            mine = sorted((i for i, p in enumerate(of_task) if p.method == method), key=xs.item)
            if method == DENSE and mine:
                axes.axhline(ys[mine[0]], color=color, ls=DASHES[1], lw=1, alpha=0.6, zorder=2)
            axes.errorbar(
                xs[mine],
                ys[mine],
                xerr=[of_task[i].std(saving) or 0.0 for i in mine],
                yerr=[scale * (of_task[i].std("value") or 0.0) for i in mine],
                color=color,
                marker=marker,
                ms=15 if method == DENSE else 8,
                mec=theme.background,
                elinewidth=1.2,
                zorder=3,
            )
    handles = [
        Line2D([], [], color=color, marker=marker, ms=12 if method == DENSE else 7, label=method)
        for method, (color, marker) in looks.items()
    ]
    handles.append(Line2D([], [], color=theme.faint, lw=5, alpha=0.55, label="best of all"))
    _legend(figure, handles)
    figure.draw_without_rendering()
    for axes, of_task in zip(panels, tasks.values(), strict=True):
        _name_points(axes, [p for p in of_task if p.method != DENSE], saving, looks)
    return figure


def _name_points(
    axes: Axes, of_task: Sequence[Point], saving: str, looks: dict[str, tuple[str, str]]
) -> None:
    """Write each operating point's name where it covers the fewest lines, points and names."""
    taken: list[Bbox] = []
    drawn = np.concatenate([_along(line) for line in axes.lines])
    scale = 100.0 if of_task and of_task[0].runs[0].higher_is_better else 1.0
    frame = axes.get_window_extent()
    for point in of_task:
        name = axes.annotate(
            point.operating_point,
            (point.mean(saving), scale * point.mean("value")),
            (0, 0),
            textcoords="offset points",
            color=looks[point.method][0],
            fontsize=9.5,
            path_effects=[withStroke(linewidth=3, foreground=axes.get_facecolor())],
            zorder=4,
            in_layout=False,
        )

        def cost(place: tuple[int, int, int], name: Any = name) -> float:
            _put(name, place)
            box = name.get_window_extent().padded(3)
            inside = np.all((drawn > box.min) & (drawn < box.max), axis=1).sum()
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0
            return float(inside + 40 * box.count_overlaps(taken) + 400 * outside + place[2] / 2)

        _put(name, min(PLACES, key=cost))
        taken.append(name.get_window_extent().padded(2))


PLACES = [
    (x, y, distance)
    for distance in (8, 14, 22)
    for x, y in ((1, 1), (-1, -1), (1, -1), (-1, 1), (1, 0), (-1, 0), (0, 1), (0, -1))
]


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


def _kept_tokens(records: Sequence[Record], theme: Theme) -> Figure:
    tasks = by_task(records)
    looks = _looks(records, theme)
    figure, panels = _panels(len(tasks), height=4.5)
    handles: dict[str, Line2D] = {}
    for axes, (task, of_task) in zip(panels, tasks.items(), strict=True):
        axes.set_title(task, loc="left")
        axes.set_xlabel("Layer")
        axes.set_ylabel("Tokens processed")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        axes.set_ylim(0, 104)
        for point, dash in _dashes(of_task):
            shares = np.mean([run.kept_tokens_per_layer for run in point.runs], axis=0)
            color, marker = looks[point.method]
            (line,) = axes.plot(
                range(1, len(shares) + 1),
                100 * shares,
                color=color,
                ls=dash,
                marker=marker,
                ms=11 if point.method == DENSE else 6,
                mec=theme.background,
                label=point.name,
            )
            handles.setdefault(point.name, line)
    _legend(figure, list(handles.values()))
    return figure


def _dashes(of_task: Sequence[Point]) -> list[tuple[Point, Any]]:
    """Each point with a dash pattern that tells it from the other points of its method."""
    return [
        (point, dash)
        for _, mine in groupby(of_task, key=lambda point: point.method)
        for point, dash in zip(mine, cycle(DASHES), strict=False)
    ]


def _segments(record: Record) -> list[tuple[str, float, list[float], list[float]]]:
    """Name, first epoch, epochs and values of each stage that measured the record's metric."""
    segments = []
    start = 0.0
    for stage in record.stages:
        measured = [at for at in stage["curve"] if record.metric in at["metrics"]]
        epochs = [start + at["epoch"] for at in measured]
        values = [at["metrics"][record.metric] for at in measured]
        if measured:
            segments.append((stage["name"], start, epochs, values))
        start += stage["epochs"]
    return segments


def _training(records: Sequence[Record], theme: Theme) -> Figure:
    looks = _looks(records, theme)
    curved = [record for record in records if _segments(record)]
    groups: dict[tuple[str, str], list[Point]] = {}
    for task, of_task in by_task(curved).items():
        for point in of_task:
            groups.setdefault((task, point.method), []).append(point)
    figure, panels = _panels(len(groups), height=3.4)
    for axes, ((task, method), mine) in zip(panels, groups.items(), strict=True):
        scale = _metric_axis(axes, mine[0].runs[0], "dev")
        axes.set_title(f"{method}, {task}", loc="left", pad=20)
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        for point, dash in _dashes(mine):
            label: str | None = point.operating_point
            for run in point.runs:
                for _, _, epochs, values in _segments(run):
                    axes.plot(
                        epochs,
                        [scale * value for value in values],
                        color=looks[method][0],
                        ls=dash,
                        marker="o",
                        ms=4,
                        label=label,
                    )
                    label = None
        for name, start, _, _ in _segments(mine[0].runs[0]):
            axes.axvline(start, color=theme.faint, lw=1)
            axes.annotate(
                f" {name}", (start, 1), xycoords=("data", "axes fraction"), fontsize=9, va="bottom"
            )
        axes.legend(fontsize=9)
    return figure
