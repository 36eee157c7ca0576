"""Whether a method loses on long rows what it does not lose on short ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup

from tokendrop.compare.report.panel import Findings, Panel, markup
from tokendrop.compare.report.tables import show_gap
from tokendrop.compare.results.bootstrap import Estimate, estimate, example_weights
from tokendrop.compare.results.fates import read_fates
from tokendrop.compare.results.predictions import class_answers
from tokendrop.compare.results.records import Point, by_task, dense_point
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
        dense = dense_point(of_task)
        reference = None if dense is None else _right(dense, findings.folder, groups)
        rows = []
        for point in of_task:
            right = _right(point, findings.folder, groups)
            if right is None:
                continue
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
            below=Markup("").join(
                markup("titled_table", title, list(frame.columns), frame.to_numpy().tolist())
                for title, frame in tables
            ),
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
    lengths = next((known for file in files if (known := read_fates(folder / file).lengths)), [])
    wanted = min(GROUPS, len(lengths) // FEWEST)
    if wanted < 2 or len(set(lengths)) < 2:
        return None
    which = pd.qcut(lengths, wanted, labels=False, duplicates="drop")
    groups = [np.array(lengths)[which == number] for number in range(which.max() + 1)]
    names = [f"{group.min()} to {group.max()} tokens" for group in groups]
    return _Groups(names, np.eye(len(names))[which])


@dataclass(frozen=True, eq=False)
class _Right:
    """The seeds of a point, (seeds, groups) shares of right answers, and (seeds, groups, resamples)
    the same on each resample of the texts.
    """

    seeds: list[int]
    shares: Array
    resampled: Array


def _right(point: Point, folder: Path, groups: _Groups) -> _Right | None:
    """None where the answers are no classes, are not there, or are not of these texts."""
    answers = [read for run in point.runs if (read := class_answers(run, folder))]
    texts = [len(read.labels) for read in answers]
    if texts != [len(groups.belongs)] * len(point.runs):
        return None
    right = np.stack([read.probabilities.argmax(1) == read.labels for read in answers])
    in_group = (right[:, :, None] * groups.belongs).transpose(1, 0, 2)
    flat = in_group.reshape(len(groups.belongs), -1)
    found = [
        (weights @ flat).reshape(len(weights), len(answers), -1)
        / (weights @ groups.belongs)[:, None]
        for weights in example_weights(len(groups.belongs))
    ]
    shares = in_group.sum(0) / groups.belongs.sum(0)
    seeds = [run.seed for run in point.runs]
    return _Right(seeds, shares, np.concatenate(found).transpose(1, 2, 0))


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
