"""The floor of a task: words counted and weighed, no encoder at all.

TF-IDF of words and pairs of words, and a logistic regression. A method that drops tokens and does
no better has dropped what an encoder is for. The floor has no layers whose FLOPs or time could be
compared, so it stands below the tables instead of in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokendrop.compare.results.outline import Number
from tokendrop.files import file_name
from tokendrop.stored import read_json


@dataclass(frozen=True)
class Floor:
    """What the floor reached on a task.

    Attributes:
        metric, value: on the test split, as for the methods.
        metrics: all that the task knows.
        strength: C, the inverse of the regularisation, chosen on the dev split.
        train_seconds: of fitting all of them.
        data_fingerprint: what its rows are known by, as runs note it; versions before did not.
    """

    task: str
    metric: str
    value: Number
    metrics: dict[str, float]
    strength: Number
    train_seconds: Number
    data_fingerprint: str | None = None

    @property
    def sentence(self) -> str:
        """The floor in words, for below a table."""
        return (
            f"Floor: TF-IDF with logistic regression, without any encoder, reaches "
            f"{100 * self.value:.2f} % {self.metric} on {self.task} after "
            f"{self.train_seconds:.1f} s of training."
        )


def floor_path(out: Path, task: str) -> Path:
    """Where the floor of a task is recorded."""
    return out / "floor" / f"{file_name(task)}.json"


def read_floors(out: Path) -> list[Floor]:
    """The floors of a comparison's folder, by task.

    Raises:
        UserError: a record is torn.
    """
    return [read_floor(path) for path in sorted(floor_path(out, "*").parent.glob("*.json"))]


def read_floor(path: Path) -> Floor:
    """The floor in a file.

    Raises:
        UserError: it is torn.
    """
    return read_json(path, Floor, "a whole record of a floor", "delete it and run again")
