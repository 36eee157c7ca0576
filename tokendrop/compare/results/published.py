"""Numbers that others have published for a task, to be read beside ours and never mixed with them.

They stand in ``baselines/published.csv``, each with the place where it was read. Other data splits,
other training, other hardware and other ways of counting: they say where a field stands, not which
method is better.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from tokendrop.reducers.stored import BASELINES

CAPTION = (
    "As their sources give them: other training, splits, hardware and ways of counting, so they "
    "are not comparable with our own. Values are in per cent; a speed-up is against the dense "
    'model of the same source. None was read in the text of a paper: "Seen in" says where.'
)

COLUMNS = {
    "task": "Task",
    "method": "Method",
    "metric": "Metric",
    "value": "Value",
    "speedup": "Speed-up",
    "speedup_kind": "of what",
    "backbone": "Backbone",
    "hardware": "Hardware",
    "split": "Split",
    "source": "Source",
    "seen_in": "Seen in",
}

# what a source says of GLUE as a whole stands beside each of its tasks
GLUE = {"cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "mnlimismatched", "qnli", "rte"}


def published() -> pd.DataFrame:
    """Every published number, one per row; what a source does not say is "not stated"."""
    numbers = {"value": float, "speedup": float}
    return pd.read_csv(BASELINES / "published.csv", dtype=numbers).fillna({"speedup_kind": ""})


def published_frame(tasks: Iterable[str]) -> pd.DataFrame:
    """The published numbers of these tasks as text for people; empty where there are none.

    Tasks are matched by name, whatever their capitals and punctuation: "SST-2" is "sst2".
    """
    wanted = {_spelled_alike(task) for task in tasks}
    if wanted & GLUE:
        wanted.add("glue")
    frame = published()
    found = frame[frame["task"].map(_spelled_alike).isin(wanted)].sort_values(
        ["task", "method"], kind="stable"
    )
    shown = found.assign(
        value=found["value"].map("{:g}".format),
        speedup=found["speedup"].map(lambda ratio: "" if pd.isna(ratio) else f"{ratio:.2f}x"),
    )
    return shown[list(COLUMNS)].rename(columns=COLUMNS).reset_index(drop=True)


def _spelled_alike(task: str) -> str:
    """A name without capitals, blanks and punctuation."""
    return "".join(letter for letter in task.lower() if letter.isalnum())
