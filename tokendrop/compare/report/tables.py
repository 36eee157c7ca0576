"""The numbers as a table for people: what a point reached, means over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from tokendrop.compare.report.verdict import enumerated
from tokendrop.compare.results.points import Point, by_task, dense_point
from tokendrop.compare.results.records import MARK, Record
from tokendrop.compare.results.statistics import NOTHING, Statistics
from tokendrop.measure.measures import FLOPS_UNPADDED, SUMMARY, VALUE, Measure

TEXT_COLUMNS = {"Method", "Point", "Task", "Metric", "Budget"}
FLOPS_COLUMN = FLOPS_UNPADDED.column
ABOUT = "≈"
"""Stands before a ratio of the clock that is within its noise of 1."""

VS_DENSE = "vs dense"

LEGEND = {
    "Method": "the reducer that decides what is dropped; `dense` drops nothing. In an engine it is "
    "Hugging Face's model on padded rows: a yardstick, no method.",
    "Point": "the operating point: the setting of the method's knob between quality and compute. "
    "One that drops nothing keeps more than 98 % of the tokens x layers. Engines have batches of "
    "rows as they arrive (`arrival`), or `sorted` by length first, which saves padding.",
    "Task": "the data set that the model was trained and tested on.",
    "Seeds": "how many random seeds the row is the mean of.",
    "Metric": "what is measured on the test split.",
    VALUE.column: VALUE.meaning,
    VS_DENSE: "how much better (+) or worse (-) than the dense model of the same task, in "
    "points of a per cent; of several models that drop nothing it is the best on dev.",
    "95% interval": "of the difference to dense, from paired resamples of the seeds and the test "
    "examples; where it holds 0, other ones could turn the difference around. With one seed it is "
    "over the examples alone.",
    "p": "how likely the exact McNemar test finds a difference as large between two classifiers "
    "that are equally good.",
    **{measure.column: measure.meaning for measure in SUMMARY},
}


def in_markdown(cell: object) -> str:
    """A text with names that people chose, which end no cell, are no HTML and make nothing bold."""
    text = " ".join(str(cell).splitlines())
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


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
    same_seeds = dense is not None and dense.seeds == point.seeds
    return {
        "Method": point.title,
        "Point": point.operating_point,
        "Task": point.task,
        "Seeds": len(point.runs),
        "Metric": point.runs[0].metric,
        VALUE.column: point.mean(VALUE),
        "Std": point.std(VALUE),
        # means over other seeds differ by the seeds, too
        VS_DENSE: point.mean(VALUE) - dense.mean(VALUE) if dense and same_seeds else None,
        "Low": compared.low if compared else None,
        "High": compared.high if compared else None,
        "p": compared.p_value if compared else None,
        **{measure.column: point.mean(measure) for measure in SUMMARY},
    }


def display_frame(records: Sequence[Record], statistics: Statistics = NOTHING) -> pd.DataFrame:
    """The summary as text for people, without the columns that say the same in every row."""
    frame = summary_frame(records, statistics)

    def value(row: pd.Series[Any]) -> str:
        return show_value(row[VALUE.column], None if row["Seeds"] == 1 else row["Std"])

    def difference(row: pd.Series[Any], column: str = VS_DENSE) -> str:
        return "" if pd.isna(row[column]) else show_gap(row[column])

    def interval(row: pd.Series[Any]) -> str:
        return " to ".join(difference(row, end) for end in ("Low", "High") if pd.notna(row[end]))

    shown = [point for of_task in by_task(records).values() for point in of_task]
    marks = [f" {MARK}" * any(run.has_caveat for run in point.runs) for point in shown]
    columns: dict[str, Any] = {
        "Point": [p.operating_point + " (drops nothing)" * p.drops_nothing for p in shown],
        VALUE.column: frame.apply(value, axis=1) + marks,
        VS_DENSE: frame.apply(difference, axis=1),
        "Low": frame.apply(interval, axis=1),
        "p": frame["p"].map(show_p),
        "Seeds": frame["Seeds"].map(str),
        **{m.column: [show_measure(point, m) for point in shown] for m in SUMMARY},
    }
    text = frame.drop(columns=["Std", "High"]).assign(**columns)
    constant = [c for c in ("Task", "Seeds", "Metric") if frame[c].nunique() == 1]
    unknown = [c for c in ("Low", "p") if (text[c] == "").all()]
    text = text.drop(columns=constant + unknown).rename(columns={"Low": "95% interval"})
    return text.rename(columns={VALUE.column: records[0].metric}) if "Metric" in constant else text


def show_value(mean: float, std: float | None) -> str:
    """A metric for people, with its deviation over the seeds where there is one.

    >>> show_value(0.824, None), show_value(0.824, 0.002)
    ('82.40 %', '82.40 ± 0.20 %')
    """
    text = VALUE.show(mean)
    return text if std is None else f"{text.removesuffix(' %')} ± {VALUE.show(std)}"


def show_gap(difference: float) -> str:
    """A difference of metrics in points of a per cent.

    >>> show_gap(-0.0035), show_gap(-1e-9)
    ('-0.35', '+0.00')
    """
    # nothing has no side: -0.0 becomes 0.0
    return f"{round(100 * difference, 2) + 0.0:+.2f}"


def show_measure(point: Point, measure: Measure) -> str:
    """A measure of a point; a ratio of the clock within its noise of 1 says so: "≈1.02x ±0.03"."""
    shown = measure.show(point.mean(measure))
    if not point.within_noise(measure):
        return shown
    return f"{ABOUT}{shown} ±{point.noise(measure):.2f}"


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
    metrics = enumerated(sorted({record.metric for record in records}))
    tasks = ", ".join(sorted({record.task for record in records}))
    types = sorted({record.evaluate_in for record in records})
    weights = "" if types == ["fp32"] else f", weights in {' and '.join(types)}"
    return f"{metrics} on {tasks}, test split{weights}"
