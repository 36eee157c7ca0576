"""The numbers as a table for people: what a point reached, means over its seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from tokendrop.compare.results.records import MARK, Point, Record, by_task, dense_point, gap
from tokendrop.compare.results.statistics import NOTHING, Statistics
from tokendrop.measure.measures import SUMMARY, VALUE

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
    points = [point for of_task in by_task(records).values() for point in of_task]
    marks = [f" {MARK}" * any(run.has_caveat for run in point.runs) for point in points]
    text = frame.drop(columns=["Std", "High"]).assign(
        **{
            VALUE.column: frame.apply(value, axis=1) + marks,
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
