"""The panels of the report, in order: to add one, write a function like these and list it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import pandas as pd
from markupsafe import Markup

from tokendrop.compare.report import overview, same_budget
from tokendrop.compare.report.calibration import calibration_panel
from tokendrop.compare.report.classes import classes_panel
from tokendrop.compare.report.lengths import lengths_panel
from tokendrop.compare.report.origins import notes_of
from tokendrop.compare.report.panel import Findings, Panel, Panels, markup, titled_tables
from tokendrop.compare.report.passes import passes_panel
from tokendrop.compare.report.pictures import figure_panels, training_panel
from tokendrop.compare.report.tokens import token_panels
from tokendrop.compare.results import fronts, published
from tokendrop.compare.results.points import by_task, points
from tokendrop.measure.measures import TRAIN_COST, TRAIN_SECONDS


def overview_panel(findings: Findings) -> Iterator[Panel]:
    """How far each method goes on each of several tasks."""
    frame = overview.overview(findings.analysis.budgets)
    if len(frame):
        yield Panel(
            name="overview",
            title=overview.TITLE,
            below=_table(frame),
            caption=overview.CAPTION,
            frame=frame,
            css="wide",
        )


def same_budget_panel(findings: Findings) -> Iterator[Panel]:
    """What methods reach at the same budgets, and who beats whom."""
    budgets = findings.analysis.budgets
    tables = [
        (found.task if len(budgets) > 1 else "", table)
        for found in budgets
        if len(table := same_budget.budget_table(found))
    ]
    pairs = [titled for found in budgets for titled in same_budget.matrices(found)]
    frame = same_budget.numbers(budgets)
    if tables:
        yield Panel(
            name="same_budget",
            title=same_budget.TITLE,
            below=titled_tables(tables),
            caption=same_budget.CAPTION,
            frame=frame if len(frame) else None,
            css="wide",
        )
    if pairs:
        yield Panel(
            name="who_beats_whom",
            title="Who beats whom",
            below=titled_tables(pairs),
            caption=same_budget.MATRIX_CAPTION,
            css="wide",
        )


def fronts_panel(findings: Findings) -> Iterator[Panel]:
    """What the points of a method give together."""
    frame = fronts.fronts_frame(findings.records, findings.analysis.baselines)
    if len(frame):
        yield Panel(
            name="fronts",
            title="The front of each method",
            below=_table(frame),
            caption=fronts.CAPTION,
            frame=frame,
            css="wide",
        )


def published_panel(findings: Findings) -> Iterator[Panel]:
    """What others have published for these tasks."""
    frame = published.published_frame(by_task(findings.records))
    if len(frame):
        yield Panel(
            name="published",
            title="What others have published",
            below=_table(frame),
            caption=published.CAPTION,
            css="published",
        )


def _table(frame: pd.DataFrame) -> Markup:
    return markup("table", list(frame.columns), frame.to_numpy().tolist())


def notes_panel(findings: Findings) -> Iterator[Panel]:
    """What the runs noted."""
    if notes := notes_of(findings.records):
        yield Panel(name="notes", title="Notes", below=markup("notes", notes))


@dataclass(frozen=True)
class StageTime:
    """A stage of a recipe: mean seconds, and their share in per cent of the longest recipe."""

    name: str
    epochs: int
    seconds: float
    share: float


@dataclass(frozen=True)
class RecipeTime:
    """The training of a point: seconds and cost of all its stages."""

    name: str
    seconds: float
    cost: float
    stages: list[StageTime]


def training_time_panel(findings: Findings) -> Iterator[Panel]:
    """Where the training time went: a bar for each recipe, as long as it took."""
    # an engine has the training of dense
    trained = [
        point
        for point in points(findings.records)
        if not point.engine and any(run.stages for run in point.runs)
    ]
    longest = max((point.mean(TRAIN_SECONDS) for point in trained), default=0.0) or 1.0
    recipes = []
    for point in trained:
        stages = []
        for same in zip(*(run.stages for run in point.runs), strict=False):
            seconds = fmean(stage["seconds"] for stage in same)
            first = same[0]
            share = 100 * seconds / longest
            stages.append(StageTime(first["name"], first["epochs"], seconds, share))
        recipes.append(
            RecipeTime(
                f"{point.name}, {point.task}",
                point.mean(TRAIN_SECONDS),
                point.mean(TRAIN_COST),
                stages,
            )
        )
    if recipes:
        yield Panel(
            name="training_time",
            title="Where the training time went",
            above=markup("training_time", recipes),
            caption="A stage that several methods share, such as the fine-tuned start, was run "
            "once and counts in each.",
        )


PANELS: list[Panels] = [
    overview_panel,
    same_budget_panel,
    figure_panels,
    fronts_panel,
    passes_panel,
    token_panels,
    classes_panel,
    lengths_panel,
    calibration_panel,
    training_panel,
    training_time_panel,
    notes_panel,
    published_panel,
]
"""In the order of the page; what is added here is in every report that is written after."""
