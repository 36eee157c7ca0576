"""The pictures of a comparison: trade-off, kept tokens, training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tokendrop.compare.report.canvas import (
    DASHES,
    Drawing,
    legend,
    legends,
    metric_axis,
    save,
    strokes,
    subplots,
    title,
)
from tokendrop.compare.report.looks import PLAIN, Look, borrowers, looks_of
from tokendrop.compare.report.point_names import name_points
from tokendrop.compare.results.fronts import pareto_front
from tokendrop.compare.results.points import Point, by_task, dense_point, points
from tokendrop.compare.results.records import Record
from tokendrop.compare.results.statistics import NOTHING, Statistics
from tokendrop.measure.measures import TRADE_OFFS, VALUE, Measure
from tokendrop.themes import LIGHT, Theme

KEPT_FIGURE, TRAINING_FIGURE = "kept_tokens", "training"
"""Names of figures, beside those of the trade-offs."""


def drawings(
    records: Sequence[Record], statistics: Statistics = NOTHING, together: Sequence[Record] = ()
) -> dict[str, Drawing]:
    """The figures for which the records hold something to draw, by file name.

    Args:
        records: what to draw.
        statistics: of the points.
        together: what has colours together, where the records are only a part of it.
    """
    together = together or records
    # an engine drops nothing and was trained as dense: its place is on the clock
    ours = [record for record in records if "engine" not in record.details]
    figures: dict[str, Drawing] = {
        shown.name: partial(
            save,
            partial(
                _trade_off,
                records if saving.timing else ours,
                saving,
                shown.axis,
                statistics,
                together,
            ),
        )
        for saving, shown in TRADE_OFFS
        if ours
    }
    if any(share < 1 for record in ours for share in record.kept_tokens_per_layer):
        figures[KEPT_FIGURE] = partial(save, partial(_kept_tokens, ours, together))
    if any(_segments(record) for record in ours):
        figures[TRAINING_FIGURE] = partial(save, partial(_training, ours, together))
    return figures


def write_figures(
    folder: Path, records: Sequence[Record], statistics: Statistics = NOTHING
) -> dict[str, Path]:
    """Write every figure as PNG under ``folder/figures``; returns the files by name."""
    paths = {}
    for name, drawing in drawings(records, statistics).items():
        paths[name] = folder / "figures" / f"{name}.png"
        drawing(paths[name], LIGHT)
    return paths


def _trade_off(
    records: Sequence[Record],
    saving: Measure,
    label: str,
    statistics: Statistics,
    together: Sequence[Record],
    theme: Theme,
) -> Figure:
    """Quality against saved compute on the unpadded base: one panel per task, means over seeds.

    A point's bar is its interval where one is given, else the deviation over its seeds.
    """
    tasks = by_task(records)
    looks = _present(looks_of(together, theme), records)
    # of two methods of one colour the second has dashes, and markers with a hole
    second: dict[str, Any] = {"ls": DASHES[1], "mfc": theme.background}
    own = {method: second for method in borrowers(looks)}
    # many names need room
    crowd = max(map(len, tasks.values()))
    figure, all_axes = subplots(len(tasks), height=4.3 + 0.08 * max(0, crowd - 10))
    for axes, (task, of_task) in zip(all_axes, tasks.items(), strict=True):
        metric_axis(axes, of_task[0].runs[0], "test")
        title(axes, task)
        axes.set_xlabel(label)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        axes.margins(0.1, 0.14)
        xs = np.array([point.mean(saving) for point in of_task])
        ys = np.array([100 * point.mean(VALUE) for point in of_task])
        methods = [i for i, point in enumerate(of_task) if not point.engine]
        front = [methods[i] for i in pareto_front(list(xs[methods]), list(ys[methods]))]
        axes.step(xs[front], ys[front], where="pre", color=theme.faint, lw=5, alpha=0.55, zorder=1)
        if dense := dense_point(of_task):
            level = 100 * dense.mean(VALUE)
            axes.axhline(level, color=theme.text, ls=DASHES[1], lw=1, alpha=0.6, zorder=2)
        for method, (color, marker) in looks.items():
            mine = sorted((i for i, p in enumerate(of_task) if p.method == method), key=xs.item)
            axes.errorbar(
                xs[mine],
                ys[mine],
                xerr=[of_task[i].std(saving) or 0.0 for i in mine],
                yerr=np.array([_bar(of_task[i], statistics) for i in mine]).reshape(-1, 2).T,
                color=color,
                marker=marker,
                ms=15 if marker in PLAIN else 8,
                mec=color if method in own else theme.background,
                elinewidth=1.2,
                zorder=3,
                **own.get(method, {}),
            )
            unsure = [i for i in mine if of_task[i].within_noise(saving) and marker not in PLAIN]
            axes.plot(
                xs[unsure], ys[unsure], ls="", marker=marker, ms=7, color=theme.faint, zorder=3.5
            )
    titles = {point.method: point.title for of_task in tasks.values() for point in of_task}
    handles = [
        Line2D(
            [],
            [],
            color=color,
            marker=marker,
            ms=12 if marker in PLAIN else 7,
            label=titles[method],
            **own.get(method, {}),
        )
        for method, (color, marker) in looks.items()
    ]
    handles.append(Line2D([], [], color=theme.faint, lw=5, alpha=0.55, label="best of all methods"))
    legend(figure, handles)
    figure.draw_without_rendering()
    for axes, of_task in zip(all_axes, tasks.values(), strict=True):
        name_points(axes, [p for p in of_task if not p.is_reference], saving, looks)
    return figure


def _present(looks: dict[str, Look], records: Sequence[Record]) -> dict[str, Look]:
    methods = {record.method for record in records}
    return {method: look for method, look in looks.items() if method in methods}


def _bar(point: Point, statistics: Statistics) -> tuple[float, float]:
    """How far a point's bar goes down and up, in per cent."""
    known = statistics.get(point.key)
    if known is not None and known.interval is not None:
        low, high = known.interval
        return 100 * max(0.0, known.mean - low), 100 * max(0.0, high - known.mean)
    return (100 * (point.std(VALUE) or 0.0),) * 2


def _kept_tokens(records: Sequence[Record], together: Sequence[Record], theme: Theme) -> Figure:
    """The share of the original tokens that each layer processed: one panel per task."""
    tasks = by_task(records)
    looks = looks_of(together, theme)
    figure, all_axes = subplots(len(tasks), height=4.5)
    styles = strokes(points(records), looks, theme)
    handles: dict[tuple[str, str], Line2D] = {}
    for axes, (task, of_task) in zip(all_axes, tasks.items(), strict=True):
        title(axes, task)
        axes.set_xlabel("Layer")
        axes.set_ylabel("Tokens processed")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
        axes.set_ylim(0, 104)
        for point in of_task:
            name = point.method, point.operating_point
            shares = np.mean([run.kept_tokens_per_layer for run in point.runs], axis=0)
            (line,) = axes.plot(
                range(1, len(shares) + 1),
                100 * shares,
                marker=looks[point.method][1],
                ms=11 if point.is_reference else 6,
                label=point.name,
                **styles[name],
            )
            handles[name] = line
    legend(figure, [handles[name] for name in styles])
    return figure


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


def _training(records: Sequence[Record], together: Sequence[Record], theme: Theme) -> Figure:
    """The metric on the dev split over the epochs of all stages: one panel per task and method."""
    looks = looks_of(together, theme)
    curved = [record for record in records if _segments(record)]
    groups: dict[tuple[str, str], list[Point]] = {}
    for task, of_task in by_task(curved).items():
        for point in of_task:
            groups.setdefault((task, point.method), []).append(point)
    styles = strokes(points(curved), looks, theme)
    figure, all_axes = subplots(len(groups), height=3.4)
    handles: list[list[Line2D]] = []
    for axes, ((task, method), mine) in zip(all_axes, groups.items(), strict=True):
        metric_axis(axes, mine[0].runs[0], "dev")
        title(axes, f"{method}, {task}")
        axes.set_xlabel("Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        of_axes = []
        for point in mine:
            lines: list[Line2D] = []
            for run in point.runs:
                for _, _, epochs, values in _segments(run):
                    lines += axes.plot(
                        epochs,
                        [100 * value for value in values],
                        marker="o",
                        # a stage of one epoch is nothing but its marker
                        ms=4 if len(epochs) > 1 else 8,
                        label=point.operating_point,
                        **styles[method, point.operating_point],
                    )
            of_axes.append(lines[0])
        for _, start, _, _ in _segments(mine[0].runs[0]):
            axes.axvline(start, color=theme.faint, lw=1, zorder=0)
        handles.append(of_axes)
    legends(figure, handles)
    figure.draw_without_rendering()
    for axes, mine in zip(all_axes, groups.values(), strict=True):
        _name_stages(axes, mine[0].runs[0])
    return figure


def _name_stages(axes: Axes, run: Record) -> None:
    """Write each stage's name where it begins, above the one before where that is too long."""
    ends: list[float] = []
    for name, start, _, _ in _segments(run):
        text: Any = axes.annotate(
            f" {name}",
            (start, 1),
            (0, 1),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=9,
            va="bottom",
        )
        box = text.get_window_extent()
        row = next((row for row, end in enumerate(ends) if end < box.x0), len(ends))
        ends[row : row + 1] = [box.x1]
        text.xyann = (0, 1 + 11 * row)
    axes.set_title(axes.get_title(loc="left"), loc="left", pad=9 + 11 * len(ends))
