"""The summary: the tables as a file, and on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from tokendrop.compare.report import overview, same_budget
from tokendrop.compare.report.origins import notes_of, provenance_of
from tokendrop.compare.report.same_budget import budget_table, matrices
from tokendrop.compare.report.sentences import below_the_table, findings
from tokendrop.compare.report.tables import (
    ABOUT,
    TEXT_COLUMNS,
    display_frame,
    explain,
    heading,
    in_markdown,
)
from tokendrop.compare.results import fronts, published
from tokendrop.compare.results.analysis import NOTHING, Analysis
from tokendrop.compare.results.floor import Floor
from tokendrop.compare.results.points import by_task, points
from tokendrop.compare.results.records import Record
from tokendrop.files import write_text
from tokendrop.measure.measures import TRAIN_SECONDS
from tokendrop.progress import table_console

NOISE = f"{ABOUT}: within the noise of the clock, which stands behind it, of 1: no difference."


def write_summary(
    folder: Path,
    records: Sequence[Record],
    floors: Sequence[Floor] = (),
    analysis: Analysis = NOTHING,
) -> Path:
    """Write `summary.md`: the table, what its columns mean, and where its numbers come from.

    Below the table stand the floors; what others have published has a table of its own.
    """
    table = display_frame(records, analysis.statistics)
    parts = [
        f"# Comparison: {in_markdown(heading(records))}",
        _markdown(table),
        *map(in_markdown, below_the_table(records, floors)),
        NOISE,
        *_same_budget(analysis),
        "## The columns",
        _bullets((column, explain(column)) for column in table.columns),
    ]
    methods = fronts.fronts_frame(records, analysis.baselines)
    if len(methods):
        parts += ["## The front of each method", fronts.CAPTION, _markdown(methods)]
    if notes := notes_of(records):
        parts += [
            "## Notes",
            "\n".join(
                in_markdown(f"- {note} ({'; '.join(names)})") for note, names in notes.items()
            ),
        ]
    theirs = published.published_frame(by_task(records))
    if len(theirs):
        written = theirs.map(in_markdown).to_markdown(index=False, disable_numparse=True)
        parts += ["## What others have published", published.CAPTION, written]
    parts += ["## Where the numbers come from", _bullets(provenance_of(records).items())]
    path = folder / "summary.md"
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def _same_budget(analysis: Analysis) -> list[str]:
    """What the numbers say, the tables that it is said of, and who beats whom."""
    parts, budgets = list[str](), analysis.budgets
    if said := findings(analysis):
        parts += ["## What the numbers say", in_markdown(" ".join(said))]
    if len(tasks := overview.overview(budgets)):
        parts += [f"## {overview.TITLE}", overview.CAPTION, _markdown(tasks)]
    tables = [(found, budget_table(found)) for found in budgets]
    if any(len(table) for _, table in tables):
        parts += [f"## {same_budget.TITLE}", same_budget.CAPTION]
    for found, table in tables:
        if len(table):
            parts += [f"### {in_markdown(found.task)}", _markdown(table)]
            for title, pairs in matrices(found):
                parts += [f"{title}. {same_budget.MATRIX_CAPTION}", _markdown(pairs)]
    return parts


def _markdown(table: pd.DataFrame) -> str:
    align = ["left" if column in TEXT_COLUMNS else "right" for column in table.columns]
    shown = table.map(in_markdown).rename(columns=in_markdown)
    return shown.to_markdown(index=False, disable_numparse=True, colalign=align)


def _bullets(items: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"- **{name}**: {text}" for name, text in items)


def print_summary(
    records: Sequence[Record],
    console: Console | None = None,
    floors: Sequence[Floor] = (),
    analysis: Analysis = NOTHING,
) -> None:
    """Print the summary for the terminal: one table per task."""
    console = console or table_console()
    for task in by_task(records):
        of_task = [record for record in records if record.task == task]
        # the terminal has room for one of the two, and seconds differ between machines
        frame = display_frame(of_task, analysis.statistics).drop(columns=TRAIN_SECONDS.column)
        plain = {point.method for point in points(of_task) if point.is_reference}
        table = Table(box=box.SIMPLE_HEAD, title=heading(of_task), padding=0)
        for column in frame.columns:
            words = column in TEXT_COLUMNS
            # the full names do not fit the width of a terminal
            table.add_column(
                column.replace("unpadded", "unpad.")
                .replace("(", "")
                .rstrip(")")
                .replace(" ", "\n", 1),
                justify="left" if words else "right",
                overflow="fold",
                no_wrap=not words,
            )
        for cells in frame.to_numpy().tolist():
            # nor does the noise behind a ratio, whose mark is enough
            cells = [c.split(" ±")[0] if c.startswith(ABOUT) else c for c in cells]
            table.add_row(*cells, style="bold" if cells[0] in plain else None)
        console.print(table)
    if len(tasks := overview.overview(analysis.budgets)):
        glance = Table(*tasks.columns, box=box.SIMPLE_HEAD, title=overview.TITLE, padding=0)
        for cells in tasks.to_numpy().tolist():
            glance.add_row(*cells)
        console.print(glance)
        console.print(overview.CAPTION, style="dim")
    for sentence in [*below_the_table(records, floors), *findings(analysis)]:
        console.print(sentence)
    console.print(
        "unpad.: against the same packed encoder with nothing dropped; padded: against the plain "
        f"Hugging Face model on padded batches of the same rows. {ABOUT}: within the noise "
        "of the clock of 1.",
        style="dim",
    )
