"""Calibration: whether a method is right as often as it says, from its saved predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve

from tokendrop.compare.report.canvas import Drawing, legends, save, strokes, subplots, title
from tokendrop.compare.report.looks import looks_of
from tokendrop.compare.report.panel import Findings, Panel, markup
from tokendrop.compare.report.pictures import image
from tokendrop.compare.results.points import Point, by_task, dense_point, runs_of
from tokendrop.compare.results.predictions import ClassAnswers, class_answers
from tokendrop.compare.results.records import Record
from tokendrop.themes import Theme

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """How well the confidence of a point's answers fits.

    Attributes:
        point: whose.
        error: expected calibration error over 10 equal bins of confidence, mean over the seeds.
        stated, right: mean confidence and share of right answers of each bin that has any, rows
            of all seeds together.
    """

    point: Point
    error: float
    stated: list[float]
    right: list[float]


def calibration_panel(findings: Findings) -> Iterator[Panel]:
    """The reliability of each method, and the calibration error of each point."""
    found = calibrations(findings.records, findings.folder)
    if found:
        title = "Calibration"
        pictures = [image(drawing) for drawing in reliability(found)]
        errors = [
            {"task": one.point.task, "point": one.point.name, "error": 100 * one.error}
            for one in found
        ]
        yield Panel(
            name="calibration",
            title=title,
            above=markup("pictures", title, pictures),
            caption="How often the answers are right that a method is so sure of; on the grey line "
            "it is as often as it says. The thin line is the dense model. A curve is of the rows "
            "of all seeds together. Below: the expected calibration error over "
            f"{BINS} equal bins of confidence, mean over seeds, smaller is better.",
            below=markup("calibration_errors", found),
            frame=pd.DataFrame(errors),
            css="wide",
        )


def calibrations(records: Sequence[Record], folder: Path) -> list[Calibration]:
    """Of each point whose runs saved the probabilities of classes.

    Raises:
        UserError: a file of predictions that a record names is missing or unreadable.
    """
    found = []
    for of_task in by_task(records).values():
        for point in of_task:
            saved = [read for run in point.runs if (read := class_answers(run, folder))]
            if saved:
                found.append(_calibration(point, saved))
    return found


def _calibration(point: Point, saved: Sequence[ClassAnswers]) -> Calibration:
    # probabilities are saved rounded, so their largest may be a hair above 1
    confidence = [one.probabilities.max(1).clip(0, 1) for one in saved]
    right = [one.probabilities.argmax(1) == one.labels for one in saved]
    share, stated = calibration_curve(
        np.concatenate(right), np.concatenate(confidence), n_bins=BINS
    )
    error = fmean(map(_error, confidence, right))
    return Calibration(point, error, stated.tolist(), share.tolist())


def _error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: the gaps of the bins, each weighted by its rows."""
    # a confidence of 1 belongs to the last bin
    bins = np.minimum((BINS * confidence).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, confidence - right)).sum() / len(bins))


def reliability(found: Sequence[Calibration]) -> list[Drawing]:
    """Share of right answers against stated confidence: a figure for each task and method."""
    groups: dict[tuple[str, str], list[Calibration]] = {}
    for one in found:
        groups.setdefault((one.point.task, one.point.method), []).append(one)
    runs = runs_of(one.point for one in found)
    by_key = {one.point.key: one for one in found}
    dense = {
        task: by_key.get(point.key)
        for task, of_task in by_task(runs).items()
        if (point := dense_point(of_task))
    }
    return [
        partial(save, partial(_reliability, mine, dense.get(task), runs))
        for (task, _), mine in groups.items()
    ]


def _reliability(
    mine: Sequence[Calibration], dense: Calibration | None, runs: Sequence[Record], theme: Theme
) -> Figure:
    figure, (axes,) = subplots(1, height=3.6)
    method = mine[0].point.method
    title(axes, f"{mine[0].point.title}, {mine[0].point.task}")
    axes.set_xlabel("Stated confidence")
    axes.set_ylabel("Right answers")
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.set_ylim(-0.03, 1.03)
    axes.axline((0.5, 0.5), slope=1, color=theme.faint, lw=4, alpha=0.6, zorder=1)
    if dense is not None and method != dense.point.method:
        axes.plot(*(dense.stated, dense.right), color=theme.text, lw=1, label=dense.point.name)
    looks = looks_of(runs, theme)
    styles = strokes((one.point for one in mine), looks, theme)
    for one in mine:
        axes.plot(
            one.stated,
            one.right,
            marker=looks[method][1],
            ms=6,
            label=method if one.point.is_reference else one.point.operating_point,
            **styles[method, one.point.operating_point],
        )
    axes.set_xlim(min(0.5, *(x for one in mine for x in one.stated)) - 0.03, 1.03)
    # by itself a legend leaves out names that begin with "_"
    legends(figure, [axes.lines[1:]])
    return figure
