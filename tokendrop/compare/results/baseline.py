"""What a task gives to one who has no encoder: the value below which nothing was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokendrop.compare.results.bootstrap import Estimate
from tokendrop.compare.results.floor import Floor
from tokendrop.compare.results.points import by_task, runs_of
from tokendrop.compare.results.predictions import saved_answers
from tokendrop.compare.results.records import Record
from tokendrop.measure.measures import VALUE
from tokendrop.tasks import kind_named


@dataclass(frozen=True)
class Baseline:
    """The best that needs no encoder.

    Attributes:
        value: of the task's metric on the test split.
        name: who reaches it.
    """

    value: float
    name: str

    def is_below(self, value: float) -> bool:
        """Whether a metric is above it by more than single precision, in which metrics are kept."""
        return value > self.value + 1e-6

    def is_told_below(self, value: float, interval: Estimate | None) -> bool:
        """Whether a metric is above it, all of its interval if it has one."""
        return self.is_below(value if interval is None else interval.low)

    def not_told(self, interval: Estimate) -> str:
        """What a metric is with an interval that goes down to it, in a sentence."""
        ends = f"{VALUE.show(interval.low)} to {VALUE.show(interval.high)}"
        return (
            f"which its 95 % interval ({ends}) does not tell from {self.name} "
            f"({VALUE.show(self.value)})"
        )

    def not_below(self, value: float) -> str:
        """What a metric is no more than, in a sentence."""
        # an error with its sign turned is always negative, and more training does not change it
        counts = ", from which every metric counts up to 1" if value < 0 else ""
        return f"no more than {self.name} ({VALUE.show(self.value)}{counts})"


NONE = Baseline(0.0, "knowing nothing")

Baselines = Mapping[str, Baseline]
"""By task; of one that is not there it is NONE."""


def baselines(
    records: Sequence[Record], floors: Sequence[Floor], folder: Path
) -> dict[str, Baseline]:
    """The baseline of each task: the better of its floor and the best single answer.

    Args:
        records: of a comparison.
        floors: TF-IDF of some tasks.
        folder: where the predictions lie, whose labels say what always answering the same gives.

    Raises:
        UserError: saved predictions that are torn, or are not those that a record was made from.
    """
    found = {}
    for task, of_task in by_task(records).items():
        known = [NONE, *_single_answer(runs_of(of_task), folder)]
        known += [
            Baseline(floor.value, "TF-IDF with logistic regression")
            for floor in floors
            if (floor.task, floor.metric) == (task, of_task[0].runs[0].metric)
        ]
        found[task] = max(known, key=lambda one: one.value)
    return found


def _single_answer(runs: Sequence[Record], folder: Path) -> list[Baseline]:
    for run in runs:
        if (answers := saved_answers(run, folder)) is not None:
            value = kind_named(run.kind).most_frequent(run.metric, answers)
            return [Baseline(value, "always giving the same answer")]
    return []
