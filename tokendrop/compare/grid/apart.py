"""Files of runs are called by the joined names of method, point and task; they must stay apart."""

from __future__ import annotations

from pathlib import Path

from tokendrop.compare.results.records import record_path
from tokendrop.errors import UserError
from tokendrop.training.tracking import Run


class Apart:
    """The names of files that the runs of a comparison have taken."""

    def __init__(self) -> None:
        self._taken: dict[str, Run] = {}

    def add(self, run: Run) -> None:
        """
        Raises:
            UserError: another run has files of the same names.
        """
        record = record_path(Path(), run.method, run.operating_point, run.task, run.seed).stem
        for name in {run.file_name, record}:
            other = self._taken.setdefault(name, run)
            if other != run:
                raise UserError(
                    f"{_told(other)} and {_told(run)} would write the same files ({name}), since "
                    "their names are joined by hyphens: give a method or a point another name"
                )


def _told(run: Run) -> str:
    return f"method {run.method!r} at {run.operating_point!r} on {run.task}"
