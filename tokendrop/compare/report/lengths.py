"""Whether a method loses on long rows what it does not lose on short ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tokendrop.compare.report.panel import Findings, Panel, titled_tables
from tokendrop.compare.report.tables import show_gap
from tokendrop.compare.results.bootstrap import Estimate, estimate, example_weights
from tokendrop.compare.results.fates import read_fates
from tokendrop.compare.results.points import Point, by_task, dense_point
from tokendrop.compare.results.predictions import class_answers
from tokendrop.tasks.resampling import Array

GROUPS = 4
FEWEST = 25  # texts of a group
TITLE = "Short and long texts"
CAPTION = (
    "The share of right answers among the test texts of each length in tokens, about as many texts "
    "in each group, and in points the difference to dense with its 95 % interval over seeds and "
    "texts. Intervals are not corrected for the number of groups: look for a trend, not a cell."
)


def lengths_panel(findings: Findings) -> Iterator[Panel]:
    """Right answers by the length of the texts, for each task whose answers are classes."""
    tables: list[tuple[str, pd.DataFrame]] = []
    numbers: list[dict[str, object]] = []
    tasks = by_task(findings.records)
    for task, of_task in tasks.items():
        groups = _groups(of_task, findings.folder)
        if groups is None:
            continue
        found = _right(of_task, findings.folder, groups)
        dense = dense_point(of_task)
        reference = next((right for point, right in found if point is dense), None)
        rows = []
        for point, right in found:
            cells = _cells(right, None if point is dense else reference)
            rows.append([point.name, *(cell.shown for cell in cells)])
            numbers += [
                {"task": task, "point": point.name, "tokens": name, **cell.numbers()}
                for name, cell in zip(groups.names, cells, strict=True)
            ]
        if rows:
            frame = pd.DataFrame(rows, columns=["Point", *groups.names])
            tables.append((task if len(tasks) > 1 else "", frame))
    if tables:
        yield Panel(
            name="lengths",
            title=TITLE,
            caption=CAPTION,
            below=titled_tables(tables),
            frame=pd.DataFrame(numbers),
            css="wide",
        )


@dataclass(frozen=True, eq=False)
class _Groups:
    """The test texts by length.

    Attributes:
        names: "5 to 12 tokens", one for each group.
        belongs: (N, groups) 1 where a text belongs to a group.
    """

    names: list[str]
    belongs: Array


def _groups(of_task: Sequence[Point], folder: Path) -> _Groups | None:
    """None where lengths are not known, all the same, or of too few texts."""
    files = [run.fates_file for point in of_task for run in point.runs if run.fates_file]
    lengths = next((known for file in files if (known := read_fates(folder / file).row_tokens)), [])
    for wanted in range(min(GROUPS, len(lengths) // FEWEST), 1, -1):
        which = pd.qcut(lengths, wanted, labels=False, duplicates="drop")
        # texts of one length stay together, which may leave few to another group
        if which.max() > 0 and np.bincount(which).min() >= FEWEST:
            break
    else:
        return None
    groups = [np.array(lengths)[which == number] for number in range(which.max() + 1)]
    names = [_lengths(group.min(), group.max()) for group in groups]
    return _Groups(names, np.eye(len(names))[which])


def _lengths(shortest: int, longest: int) -> str:
    return f"{shortest} tokens" if shortest == longest else f"{shortest} to {longest} tokens"


@dataclass(frozen=True, eq=False)
class _Right:
    """The seeds of a point, (seeds, groups) shares of right answers, and (seeds, groups, resamples)
    the same on each resample of the texts.
    """

    seeds: list[int]
    shares: Array
    resampled: Array


def _right(of_task: Sequence[Point], folder: Path, groups: _Groups) -> list[tuple[Point, _Right]]:
    """Of the points whose answers are classes, are all there, and are of these texts."""
    points, right = [], []
    for point in of_task:
        answers = [read for run in point.runs if (read := class_answers(run, folder))]
        if [len(read.labels) for read in answers] == [len(groups.belongs)] * len(point.runs):
            points.append(point)
            right += [read.probabilities.argmax(1) == read.labels for read in answers]
    if not points:
        return []
    belongs = groups.belongs
    in_group = np.stack(right, 1)[:, :, None] * belongs[:, None]  # (N, runs, groups)
    shares = in_group.sum(0) / belongs.sum(0)
    flat = in_group.reshape(len(belongs), -1)
    resampled = np.concatenate(
        [
            (weights @ flat).reshape(len(weights), *shares.shape) / (weights @ belongs)[:, None]
            for weights in example_weights(len(belongs))
        ]
    ).transpose(1, 2, 0)
    ends = np.cumsum([len(point.runs) for point in points])[:-1]
    parts = zip(points, np.split(shares, ends), np.split(resampled, ends), strict=True)
    return [(point, _Right(point.seeds, *part)) for point, *part in parts]


@dataclass(frozen=True)
class _Cell:
    """Right answers of a group, and the difference to dense."""

    share: float
    gap: Estimate | None

    @property
    def shown(self) -> str:
        share = f"{100 * self.share:.1f} %"
        if self.gap is None:
            return share
        low, high = show_gap(self.gap.low), show_gap(self.gap.high)
        return f"{share}, {show_gap(self.gap.value)} ({low} to {high})"

    def numbers(self) -> dict[str, float]:
        gap = self.gap
        return {"right": self.share} | (
            {} if gap is None else {"vs_dense": gap.value, "low": gap.low, "high": gap.high}
        )


def _cells(right: _Right, dense: _Right | None) -> list[_Cell]:
    gaps: list[Estimate | None] = [None] * right.shares.shape[1]
    if dense is not None and dense.seeds == right.seeds:
        values, resampled = right.shares - dense.shares, right.resampled - dense.resampled
        gaps = [estimate(values[:, g], resampled[:, g]) for g in range(len(gaps))]
    return [_Cell(float(s), gap) for s, gap in zip(right.shares.mean(0), gaps, strict=True)]
