"""The numbers as tables for people: a summary over seeds, for files and terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from tokendrop.compare.results.floor import Floor
from tokendrop.compare.results.fronts import CAPTION as FRONTS
from tokendrop.compare.results.fronts import fronts_frame
from tokendrop.compare.results.published import CAPTION, published_frame
from tokendrop.compare.results.records import (
    DENSE,
    Point,
    Record,
    by_task,
    dense_point,
    gap,
    ordered,
)
from tokendrop.compare.results.statistics import NOTHING, Statistics
from tokendrop.files import write_text
from tokendrop.measure.measures import SUMMARY, TRAIN_SECONDS, VALUE

TEXT_COLUMNS = {"Method", "Point", "Task", "Metric"}

VS_DENSE = "vs dense"

LEGEND = {
    "Method": "the reducer that decides what is dropped; `dense` drops nothing.",
    "Point": "the operating point: the setting of the method's knob between quality and compute.",
    "Task": "the data set that the model was trained and tested on.",
    "Seeds": "how many random seeds the row is the mean of.",
    "Metric": "what is measured on the test split.",
    VALUE.column: VALUE.meaning,
    VS_DENSE: "how much better (+) or worse (-) than the dense model of the same task, in "
    "points of a per cent.",
    "95% interval": "of the difference to dense, from paired resamples of the test examples; "
    "where it holds 0, another test set could turn the difference around.",
    "p": "how likely the exact McNemar test finds a difference as large between two classifiers "
    "that are equally good.",
    **{measure.column: measure.meaning for measure in SUMMARY},
}


def summary_frame(records: Sequence[Record], statistics: Statistics = NOTHING) -> pd.DataFrame:
    """One row per method, operating point and task: numbers, means over the seeds."""
    rows = [
        _summary_row(point, dense_point(of_task), statistics)
        for of_task in by_task(records).values()
        for point in of_task
    ]
    return pd.DataFrame(rows)


def _summary_row(point: Point, dense: Point | None, statistics: Statistics) -> dict[str, Any]:
    known = statistics.get((point.task, point.method, point.operating_point))
    compared = known.difference if known else None
    return {
        "Method": point.method,
        "Point": point.operating_point,
        "Task": point.task,
        "Seeds": len(point.runs),
        "Metric": point.runs[0].metric,
        VALUE.column: point.mean(VALUE),
        "Std": point.std(VALUE),
        VS_DENSE: gap(point, dense) if dense else None,
        "Low": compared.low if compared else None,
        "High": compared.high if compared else None,
        "p": compared.p_value if compared else None,
        **{measure.column: point.mean(measure) for measure in SUMMARY},
    }


def display_frame(records: Sequence[Record], statistics: Statistics = NOTHING) -> pd.DataFrame:
    """The summary as text for people, without the columns that say the same in every row."""
    frame = summary_frame(records, statistics)

    def value(row: pd.Series[Any]) -> str:
        text = VALUE.show(row[VALUE.column])
        if row["Seeds"] == 1:
            return text
        return f"{text.removesuffix(' %')} ± {VALUE.show(row['Std'])}"

    def difference(row: pd.Series[Any], column: str = VS_DENSE) -> str:
        return "" if pd.isna(row[column]) else f"{100 * row[column]:+.2f}"

    def interval(row: pd.Series[Any]) -> str:
        return " to ".join(difference(row, end) for end in ("Low", "High") if pd.notna(row[end]))

    formats: dict[str, Callable[[float], str]] = {
        **{measure.column: measure.show for measure in SUMMARY},
        "p": show_p,
        "Seeds": str,
    }
    text = frame.drop(columns=["Std", "High"]).assign(
        **{
            VALUE.column: frame.apply(value, axis=1),
            VS_DENSE: frame.apply(difference, axis=1),
            "Low": frame.apply(interval, axis=1),
            **{column: frame[column].map(form) for column, form in formats.items()},
        }
    )
    constant = [c for c in ("Task", "Seeds", "Metric") if frame[c].nunique() == 1]
    unknown = [c for c in ("Low", "p") if (text[c] == "").all()]
    text = text.drop(columns=constant + unknown).rename(columns={"Low": "95% interval"})
    return text.rename(columns={VALUE.column: records[0].metric}) if "Metric" in constant else text


def show_p(p_value: float) -> str:
    """A p value for people, nothing where there is none.

    >>> show_p(0.0412), show_p(1e-7), show_p(float("nan"))
    ('0.041', '<0.001', '')
    """
    if pd.isna(p_value):
        return ""
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def explain(column: str) -> str:
    """What a column of the summary says; one with another name is the metric itself."""
    return LEGEND.get(column, VALUE.meaning)


def heading(records: Sequence[Record]) -> str:
    """What the table shows, with everything that is the same in every row."""
    metrics = " and ".join(sorted({record.metric for record in records}))
    tasks = ", ".join(sorted({record.task for record in records}))
    return f"{metrics} on {tasks}, test split"


def write_summary(
    folder: Path,
    records: Sequence[Record],
    floors: Sequence[Floor] = (),
    statistics: Statistics = NOTHING,
) -> Path:
    """Write `summary.md`: the table, what its columns mean, and where its numbers come from.

    Below the table stand the floors; what others have published has a table of its own.
    """
    table = display_frame(records, statistics)
    parts = [
        f"# Comparison: {heading(records)}",
        _markdown(table),
        *(floor.sentence for floor in floors),
        "## The columns",
        _bullets((column, explain(column)) for column in table.columns),
    ]
    methods = fronts_frame(records)
    if len(methods):
        parts += ["## At the same budget", FRONTS, _markdown(methods)]
    if notes := notes_of(records):
        parts += [
            "## Notes",
            "\n".join(f"- {note} ({'; '.join(names)})" for note, names in notes.items()),
        ]
    theirs = published_frame(by_task(records))
    if len(theirs):
        written = theirs.to_markdown(index=False, disable_numparse=True)
        parts += ["## What others have published", CAPTION, written]
    parts += ["## Where the numbers come from", _bullets(provenance_of(records).items())]
    path = folder / "summary.md"
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def _markdown(table: pd.DataFrame) -> str:
    align = ["left" if column in TEXT_COLUMNS else "right" for column in table.columns]
    return table.to_markdown(index=False, disable_numparse=True, colalign=align)


def _bullets(items: Any) -> str:
    return "\n".join(f"- **{name}**: {text}" for name, text in items)


def print_summary(
    records: Sequence[Record],
    console: Console | None = None,
    floors: Sequence[Floor] = (),
    statistics: Statistics = NOTHING,
) -> None:
    """Print the summary for the terminal: one table per task."""
    # a file or a pipe has no width, and 80 columns would fold the names
    console = console or Console(width=None if sys.stdout.isatty() else 140)
    for task in by_task(records):
        of_task = [record for record in records if record.task == task]
        # the terminal has room for one of the two, and seconds differ between machines
        frame = display_frame(of_task, statistics).drop(columns=TRAIN_SECONDS.column)
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
            table.add_row(*cells, style="bold" if cells[0] == DENSE else None)
        console.print(table)
    for floor in floors:
        console.print(floor.sentence)
    console.print(
        "unpad.: against the same packed encoder with nothing dropped; padded: against the plain "
        "Hugging Face model on padded batches of the same rows.",
        style="dim",
    )


def notes_of(records: Sequence[Record]) -> dict[str, list[str]]:
    """Each note that runs left, with the points that left it and the tasks if those differ."""
    everyone: dict[str, dict[str, None]] = {}
    left: dict[str, dict[str, dict[str, None]]] = {}
    for record in ordered(records):
        name = Point(record.method, record.operating_point, record.task, (record,)).name
        everyone.setdefault(record.task, {})[name] = None
        for note in record.notes:
            left.setdefault(note, {}).setdefault(record.task, {})[name] = None
    notes = {}
    for note, found in left.items():
        where = {
            task: ["every method"] if names == everyone[task] else list(names)
            for task, names in found.items()
        }
        first = next(iter(where.values()))
        alike = len(where) == len(everyone) and all(names == first for names in where.values())
        notes[note] = (
            first if alike else [f"{'; '.join(who)} on {task}" for task, who in where.items()]
        )
    return notes


def provenance_of(records: Sequence[Record]) -> dict[str, str]:
    """What made the numbers, one line each; where runs differ, the range or the number of values.

    A run's configuration is left to its own record: it is long and differs in every run.
    """
    rows = {
        task: f"{of_task[0].runs[0].examples_eval} test rows"
        for task, of_task in by_task(records).items()
    }
    lines = {
        "data": "; ".join(f"{task}, {size}" for task, size in rows.items()),
        "seeds": ", ".join(str(seed) for seed in sorted({record.seed for record in records})),
        "runs": str(len(records)),
    }
    keys = dict.fromkeys(key for record in records for key in record.provenance)
    for key in keys:
        if key not in {"config", "seed"}:
            values = [r.provenance[key] for r in records if r.provenance.get(key) is not None]
            if values:
                lines[key.replace("_", " ")] = _common(values)
    return lines


def _common(values: list[Any]) -> str:
    distinct = sorted({_line(value) for value in values})
    if len(distinct) == 1:
        return distinct[0]
    if all(isinstance(value, int | float) for value in values):
        return f"{_line(min(values))} to {_line(max(values))}"
    if len(distinct) <= 3:
        return "; ".join(distinct)
    return f"{distinct[0]} to {distinct[-1]}, {len(distinct)} values: see runs/*.json"


def _line(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_line(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
