"""The answers that runs saved, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokendrop.compare.results.records import Record, check_there
from tokendrop.errors import UserError
from tokendrop.sums import is_changed
from tokendrop.tasks import Task, kind_named


def saved_answers(record: Record, folder: Path) -> pd.DataFrame | None:
    """The saved predictions of a run by example, None if there are none.

    Raises:
        UserError: they are torn, or do not give the recorded value.
    """
    if record.predictions_file is None or not (folder / record.predictions_file).is_file():
        return None
    path = folder / record.predictions_file
    if is_changed(path):
        raise UserError(f"{path} is torn or was changed: run the comparison again to make it anew")
    kind = kind_named(record.kind)
    cure = _cure(kind, record.metric)
    try:
        frame = _read(path, path.stat().st_mtime_ns, kind.head.output != "number")
        if frame.empty or "label" not in frame:
            raise ValueError("no rows with labels")
        if kind.right_or_wrong:
            frame["score"].astype(float)
        (value,) = kind.of_resamples(record.metric, frame)(np.ones((1, len(frame))))
    except (ValueError, KeyError, IndexError, ZeroDivisionError) as error:
        raise UserError(f"{path} are not the whole predictions of a run: {cure}") from error
    if not abs(value - record.value) < 1e-3:
        raise UserError(
            f"{path} give {value:.4f} as {record.metric} but the record says {record.value:.4f}: "
            f"{cure}"
        )
    return frame


def _cure(kind: type[Task], metric: str) -> str:
    again = "delete this run's record under runs/ and run again"
    if kind.__module__.startswith("tokendrop."):
        return again
    # measuring again does not help who has forgotten it
    return (
        f"{kind.__name__}.of_resamples must give the {metric} that its scores give, from what "
        f"their examples() saves (docs/write_a_task.md); if it does, {again}"
    )


@lru_cache(maxsize=64)
def _read(path: Path, _changed: int, labels_are_names: bool) -> pd.DataFrame:
    # a class may be called 1, NA or None
    names = {"label": str} if labels_are_names else {}
    return pd.read_csv(path, index_col="example", dtype=names, keep_default_na=False)


@dataclass(frozen=True, eq=False)
class ClassAnswers:
    """A run's answers where they are classes.

    Attributes:
        names: of the C classes.
        probabilities: (N, C).
        labels: (N,) numbers of the right classes.
    """

    names: list[str]
    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]


def class_answers(record: Record, folder: Path) -> ClassAnswers | None:
    """The classes that a run answered, None if its answers are no classes.

    Raises:
        UserError: a file that the record names is missing or unreadable.
    """
    if record.predictions_file is None:
        return None
    path = folder / record.predictions_file
    check_there(path)
    try:
        frame = _read(path, path.stat().st_mtime_ns, True)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the predictions {path} that a run record names ({error}): delete the "
            "run's record in runs/ and compare again"
        ) from error
    names = [name for name in frame.columns if name not in {"label", "score"}]
    numeric = all(pd.api.types.is_float_dtype(frame[name]) for name in names)
    if len(names) < 2 or not numeric or not set(frame["label"]) <= set(names):
        return None
    probabilities = frame[names].to_numpy(dtype=np.float64)
    labels = np.array([names.index(label) for label in frame["label"]], dtype=np.int64)
    return ClassAnswers(names, probabilities, labels)
