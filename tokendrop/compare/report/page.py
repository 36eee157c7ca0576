"""The page: the verdict, the tables, every panel that applies, and where the numbers come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd

from tokendrop.compare.report.numbers import page_tables
from tokendrop.compare.report.origins import provenance_of
from tokendrop.compare.report.panel import TEMPLATES, Findings
from tokendrop.compare.report.panels import PANELS
from tokendrop.compare.report.sentences import below_the_table, findings
from tokendrop.compare.report.tables import ABOUT, TEXT_COLUMNS, explain, heading
from tokendrop.compare.results.analysis import NOTHING, Analysis
from tokendrop.compare.results.floor import Floor
from tokendrop.compare.results.points import Point, by_task
from tokendrop.compare.results.records import Record
from tokendrop.files import write_text


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        path: of the file.
        frames: the numbers of its panels, by name, for trackers and other programs.
    """

    path: Path
    frames: dict[str, pd.DataFrame]


def write_report(
    folder: Path,
    records: Sequence[Record],
    floors: Sequence[Floor] = (),
    analysis: Analysis = NOTHING,
) -> Report:
    """Write ``report.html``.

    Args:
        folder: of the comparison; the files that records name lie there.
        records: what to report, at least one.
        floors: shown below the table.
        analysis: what follows from the records; without it there are no intervals and no verdict.

    Raises:
        UserError: a file that a record names is missing or torn.
    """
    found = Findings(folder, records, analysis)
    panels = [panel for make in PANELS for panel in make(found)]
    tables = page_tables(records, analysis.statistics)
    columns = dict.fromkeys(column for table in tables for column in table.columns)
    page = TEMPLATES.get_template("report.html.jinja").render(
        heading=heading(records),
        verdict=findings(analysis),
        tables=tables,
        words=TEXT_COLUMNS,
        any_best=any(table.any_best for table in tables),
        legend={column: explain(column).replace("`", "") for column in columns},
        below=below_the_table(records, floors),
        about=ABOUT,
        several_tasks=len(tables) > 1,
        panels=panels,
        groups=[(beside, list(group)) for beside, group in groupby(panels, lambda p: p.beside)],
        provenance=provenance_of(records),
        points=[_recorded(point) for of_task in by_task(records).values() for point in of_task],
    )
    path = folder / "report.html"
    write_text(path, page)
    return Report(path, {p.name: p.frame for p in panels if p.frame is not None})


@dataclass(frozen=True)
class RecordedRun:
    """A run as the end of the page tells it: the metric, and the rest of its record as text."""

    seed: int
    value: str
    text: str


@dataclass(frozen=True)
class RecordedPoint:
    """All that the runs of a point recorded."""

    name: str
    metric: str
    runs: list[RecordedRun]


def _recorded(point: Point) -> RecordedPoint:
    runs = []
    for record in point.runs:
        content = {
            "metrics": record.metrics,
            "details": record.details,
            "flops": record.flops,
            "timing": record.timing,
            "provenance": record.provenance,
        }
        text = json.dumps(content, indent=1, ensure_ascii=False)
        runs.append(RecordedRun(record.seed, f"{record.value:.6g}", text))
    return RecordedPoint(f"{point.name}, {point.task}", point.runs[0].metric, runs)
