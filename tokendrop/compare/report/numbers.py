"""The tables of the report, with the best of each column, and the same to paste into a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import pandas as pd

from tokendrop.compare.report.tables import (
    ABOUT,
    TEXT_COLUMNS,
    VS_DENSE,
    display_frame,
    heading,
    in_markdown,
    summary_frame,
)
from tokendrop.compare.results.points import by_task, runs_of
from tokendrop.compare.results.records import Record
from tokendrop.compare.results.statistics import NOTHING, Statistics
from tokendrop.measure.measures import SUMMARY, TRAIN_SECONDS, VALUE

# the fonts that LaTeX takes for text lack these or have others in their place, as "¡" for "<"
IN_MATHS = str.maketrans(
    {"<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$", ABOUT: r"$\approx$"},
)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        number: on the page.
        cells: their text.
        best: whether each is the best of its column.
        within_noise: whether each is a ratio of the clock that its noise cannot tell from 1.
        reference: whether it is of a model that drops nothing by design.
    """

    number: int
    cells: list[str]
    best: list[bool]
    within_noise: list[bool]
    reference: bool


@dataclass(frozen=True)
class PageTable:
    """The table of a task, for the page and to paste elsewhere."""

    heading: str
    columns: list[str]
    rows: list[Row]
    latex: str
    markdown: str

    @property
    def any_best(self) -> bool:
        """Whether any cell is marked."""
        return any(any(row.best) for row in self.rows)


def page_tables(records: Sequence[Record], statistics: Statistics = NOTHING) -> list[PageTable]:
    """A table for each task; their rows are the points in the order of :func:`by_task`."""
    tables = []
    number = count(1)
    for of_task in by_task(records).values():
        runs = runs_of(of_task)
        # the seconds of training have a panel of their own
        frame = display_frame(runs, statistics).drop(columns=TRAIN_SECONDS.column)
        best = best_cells(runs, frame)
        rows = [
            Row(
                next(number),
                cells,
                [column in columns for column in frame.columns],
                [cell.startswith(ABOUT) for cell in cells],
                point.is_reference,
            )
            for point, cells, columns in zip(of_task, frame.to_numpy().tolist(), best, strict=True)
        ]
        title = heading(runs)
        tables.append(
            PageTable(
                title, list(frame.columns), rows, latex(frame, best, title), markdown(frame, best)
            )
        )
    return tables


def best_cells(records: Sequence[Record], frame: pd.DataFrame) -> list[set[str]]:
    """For each row of the table, the columns in which it is the best of its task, dense aside.

    What drops nothing, by design or not, takes no part, and neither do engines. Rows that show the
    same as the best are best too. Without a second method nothing is best, nor is a ratio of the
    clock within its noise.
    """
    numbers = summary_frame(records)
    takes_part = [
        not (point.is_reference or point.engine or point.drops_nothing)
        for of_task in by_task(records).values()
        for point in of_task
    ]
    value = next(name for name in (records[0].metric, VALUE.column) if name in frame)
    directions = {measure.column: measure.better for measure in (VALUE, *SUMMARY)}
    directions[VS_DENSE] = VALUE.better
    best: list[set[str]] = [set() for _ in range(len(frame))]
    for _, rows in numbers[takes_part].groupby("Task", sort=False):
        places = [int(str(index)) for index in rows.index]
        if len(rows) < 2:
            continue
        for column, better in directions.items():
            shown = value if column == VALUE.column else column
            if shown not in frame or rows[column].isna().all():
                continue
            ahead = rows[column].argmax() if better == "more" else rows[column].argmin()
            winner = places[int(ahead)]
            cells = frame[shown].tolist()
            for place in places:
                if cells[place] == cells[winner] and not cells[place].startswith(ABOUT):
                    best[place].add(shown)
    return best


def latex(frame: pd.DataFrame, best: Sequence[set[str]], caption: str) -> str:
    """The table for LaTeX, with the package booktabs; the best of each column in bold."""

    def bold(row: pd.Series[str]) -> list[str]:
        return ["textbf:--rwrap;" * (column in best[int(str(row.name))]) for column in row.index]

    style = frame.style.hide(axis="index").format(escape="latex").apply(bold, axis=1)
    style = style.format_index(escape="latex", axis="columns")
    columns = "".join("l" if column in TEXT_COLUMNS else "r" for column in frame.columns)
    caption = re.sub(r"[_%&#$]", r"\\\g<0>", caption)
    text = style.to_latex(column_format=columns, hrules=True, caption=caption)
    return text.translate(IN_MATHS)


def markdown(frame: pd.DataFrame, best: Sequence[set[str]]) -> str:
    """The table for Markdown; the best of each column in bold."""
    rows = [
        [
            f"**{in_markdown(cell)}**" if column in columns else in_markdown(cell)
            for column, cell in row.items()
        ]
        for columns, row in zip(best, frame.to_dict("records"), strict=True)
    ]
    marked = pd.DataFrame(rows, columns=frame.columns)
    align = ["left" if column in TEXT_COLUMNS else "right" for column in marked.columns]
    return marked.to_markdown(index=False, disable_numparse=True, colalign=align)
