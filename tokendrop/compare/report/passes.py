"""What a pass costs in absolute figures: milliseconds, rows per second, memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd
from markupsafe import Markup

from tokendrop.compare.report.panel import Findings, Panel, markup
from tokendrop.compare.results.points import by_task, points
from tokendrop.compare.results.records import Record
from tokendrop.measure.clock import METHOD, PACKED_DENSE, PADDED

COLUMNS = {
    "batch32_ms": ("ms per row, 32 rows at once", "{:.3g}"),
    "batch32_rows": ("Rows per second, 32 rows at once", "{:,.0f}"),
    "batch1_ms": ("ms per row, one row alone", "{:.3g}"),
    "batch1_rows": ("Rows per second, one row alone", "{:,.0f}"),
    "peak_mib": ("Peak MiB, 32 rows", "{:,.1f}"),
}
CONTENDERS = {
    PADDED: "plain Hugging Face model, padded",
    PACKED_DENSE: "packed encoder, nothing dropped",
}


@dataclass(frozen=True)
class Pass:
    """The figures of one contender, by the names of COLUMNS; None where it was not measured."""

    name: str
    figures: dict[str, float | None]


def passes_panel(findings: Findings) -> Iterator[Panel]:
    """The figures behind the ratios of the clock, of the methods and of what they raced."""
    found = {
        task: passes(of_task)
        for task in by_task(findings.records)
        if (of_task := [run for run in findings.records if run.task == task and run.timing])
    }
    if not found:
        return
    tables = []
    for task, contenders in found.items():
        frame = pd.DataFrame([_shown(one) for one in contenders])
        frame = frame.loc[:, (frame != "").any()]
        title = task if len(found) > 1 else ""
        tables.append(markup("titled_table", title, list(frame), frame.to_numpy().tolist()))
    yield Panel(
        name="passes",
        title="What a pass costs",
        caption="Medians over rounds, means over seeds, on the hardware named at the end. Runs "
        "were timed at different times, so compare methods by the ratios in the table, which are "
        "of rounds side by side. Peak: what the tensors of a pass over the batch of the most "
        "tokens take at once, beside the weights.",
        below=Markup("").join(tables),
        frame=pd.DataFrame(
            [
                {"task": task, "contender": one.name} | one.figures
                for task, contenders in found.items()
                for one in contenders
            ]
        ),
        css="wide",
    )


def passes(runs: Sequence[Record]) -> list[Pass]:
    """What was timed on one task: the two encoders that methods raced, then each point."""
    raced = [Pass(name, _figures(runs, which)) for which, name in CONTENDERS.items()]
    return raced + [Pass(point.name, _figures(point.runs, METHOD)) for point in points(runs)]


def _shown(one: Pass) -> dict[str, str]:
    return {"Contender": one.name} | {
        heading: "" if (figure := one.figures[name]) is None else form.format(figure)
        for name, (heading, form) in COLUMNS.items()
    }


def _figures(runs: Sequence[Record], contender: str) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for batch in ("batch32", "batch1"):
        seconds = _mean([_seconds_per_row(run.timing.get(batch, {}), contender) for run in runs])
        figures[f"{batch}_ms"] = seconds and 1000 * seconds
        figures[f"{batch}_rows"] = seconds and 1 / seconds
    peaks = [run.timing.get("batch32", {}).get("peak_mib", {}).get(contender) for run in runs]
    return figures | {"peak_mib": _mean(peaks)}


def _seconds_per_row(timing: Mapping[str, Any], contender: str) -> float | None:
    seconds, rows = timing.get(contender), timing.get("rows")
    return seconds / rows if seconds and rows else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
