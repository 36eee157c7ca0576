"""Scores by class and confusions, where there are more than two classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tokendrop.compare.report.panel import Findings, Panel, markup
from tokendrop.compare.results.points import Point, by_task
from tokendrop.compare.results.predictions import class_answers

WIDEST = 12
"""Classes up to which the confusions are shown."""


@dataclass(frozen=True)
class ClassScores:
    """How well a point answers one class, in per cent, rows of all seeds together.

    What is of no rows is not a number: the recall of a class that the test split lacks, and the
    precision of one that was never answered.

    Attributes:
        name: of the class.
        support: rows of the class in the test split.
        answered: shares of these rows by the class that was answered.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    answered: list[float]


@dataclass(frozen=True)
class PointClasses:
    """The classes of a point; of more than WIDEST the confusions are left out."""

    title: str
    classes: list[ClassScores]

    @property
    def confusions(self) -> bool:
        """Whether there is room for them."""
        return len(self.classes) <= WIDEST


def classes_panel(findings: Findings) -> Iterator[Panel]:
    """Precision, recall and F1 of each class under each point, and what is taken for what."""
    tasks = by_task(findings.records)
    found: list[PointClasses] = []
    rows = []
    for task, of_task in tasks.items():
        for point in of_task:
            scores = class_scores(point, findings.folder)
            if len(scores) > 2:
                title = f"{point.name}, {task}" if len(tasks) > 1 else point.name
                found.append(PointClasses(title, scores))
                rows += [_row(point, one) for one in scores]
    if found:
        yield Panel(
            name="classes",
            title="Class by class",
            caption="Precision, recall and F1 in per cent, rows of all seeds together. Below, "
            "where there are few classes: of the rows of a class, in per cent, how many were "
            "answered as which class; the columns are numbered as the rows. What is of no rows, as "
            "the recall of a class that the test split lacks, stays empty.",
            below=markup("classes", found),
            frame=pd.DataFrame(rows),
            css="wide",
        )


def class_scores(point: Point, folder: Path) -> list[ClassScores]:
    """The scores of each class under a point; none where its answers are no classes.

    Raises:
        UserError: a file of predictions that a record names is missing or unreadable.
    """
    saved = [read for run in point.runs if (read := class_answers(run, folder))]
    if not saved or any(one.names != saved[0].names for one in saved):
        return []
    names = saved[0].names
    right = np.concatenate([one.labels for one in saved])
    answered = np.concatenate([one.probabilities.argmax(1) for one in saved])
    numbers = range(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(
        right, answered, labels=list(numbers), zero_division=np.nan
    )
    confused = confusion_matrix(right, answered, labels=list(numbers))
    shares = 100 * confused / np.maximum(1, support)[:, None]
    return [
        ClassScores(
            names[k],
            100 * float(precision[k]),
            100 * float(recall[k]),
            100 * float(f1[k]),
            int(support[k]) // len(saved),
            shares[k].tolist(),
        )
        for k in numbers
    ]


def _row(point: Point, one: ClassScores) -> dict[str, object]:
    return {
        "task": point.task,
        "point": point.name,
        "class": one.name,
        "precision": one.precision,
        "recall": one.recall,
        "f1": one.f1,
        "support": one.support,
    }
