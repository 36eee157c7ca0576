"""The numbers of every run as a CSV file, for other programs to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tokendrop.compare.results.analysis import NOTHING, Analysis
from tokendrop.compare.results.fronts import fronts
from tokendrop.compare.results.records import Record, ordered
from tokendrop.files import write_text
from tokendrop.measure.measures import MEASURES

COLUMNS = (
    "method",
    "operating_point",
    "task",
    "seed",
    "metric",
    *(measure.name for measure in MEASURES),
)
"""What each run was and measured, under the names of the record's fields."""

POINT_COLUMNS = (
    "value_mean",
    "value_std",
    "vs_dense",
    "vs_dense_low",
    "vs_dense_high",
    "mcnemar_p",
    "front_hypervolume",
)
"""What all runs of a point say together, the same in each of its rows; the last one is of all
points of the method on the task."""


def results_frame(records: Sequence[Record], analysis: Analysis = NOTHING) -> pd.DataFrame:
    """One row per run, the columns of `results.csv`."""
    found = fronts(records, analysis.baselines)
    hypervolumes = {(front.task, front.method): front.hypervolume for front in found}
    rows = []
    for record in ordered(records):
        key = (record.task, record.method, record.operating_point)
        known = analysis.statistics.get(key)
        gap = known.difference if known else None
        rows.append(
            [
                *(getattr(record, column) for column in COLUMNS),
                *([known.mean, known.std] if known else [None] * 2),
                *([gap.value, gap.low, gap.high, gap.p_value] if gap else [None] * 4),
                hypervolumes.get(key[:2]),
            ]
        )
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *POINT_COLUMNS])
    return frame.astype(dict.fromkeys(POINT_COLUMNS, float))


def write_results(folder: Path, records: Sequence[Record], analysis: Analysis = NOTHING) -> Path:
    """Write `results.csv`."""
    path = folder / "results.csv"
    write_text(path, results_frame(records, analysis).to_csv(index=False))
    return path
