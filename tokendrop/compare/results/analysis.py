"""All that follows from the records of a comparison and the files beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokendrop.compare.results.baseline import Baselines, baselines
from tokendrop.compare.results.budgets import SameBudget, same_budget
from tokendrop.compare.results.engines import EngineStanding, engine_standings
from tokendrop.compare.results.floor import Floor
from tokendrop.compare.results.points import by_task
from tokendrop.compare.results.records import Record
from tokendrop.compare.results.resampled import Resampled
from tokendrop.compare.results.statistics import Key, PointStatistics, Statistics, task_statistics


@dataclass(frozen=True)
class Analysis:
    """What was found.

    Attributes:
        statistics: of the points.
        baselines: of the tasks.
        budgets: the methods of each task at the same budgets.
        engines: what engines give on each task beside them.
    """

    statistics: Statistics = field(default_factory=dict)
    baselines: Baselines = field(default_factory=dict)
    budgets: Sequence[SameBudget] = ()
    engines: Sequence[EngineStanding] = ()


NOTHING = Analysis()
"""Where only the records themselves are to be shown."""


def analyse(records: Sequence[Record], floors: Sequence[Floor], folder: Path) -> Analysis:
    """Analyse a comparison.

    Args:
        records: at least one.
        floors: of its tasks, where any were fitted.
        folder: where the predictions lie.

    Raises:
        UserError: saved predictions that are torn, or are not those that a record was made from.
    """
    statistics: dict[Key, PointStatistics] = {}
    levels = baselines(records, floors, folder)
    budgets, engines = [], list[EngineStanding]()
    for task, of_task in by_task(records).items():
        resampled = Resampled(of_task, folder)
        statistics |= task_statistics(of_task, resampled)
        budgets.append(same_budget(of_task, resampled, levels[task]))
        engines += engine_standings(of_task, resampled, budgets[-1].dense_learned)
    return Analysis(statistics, levels, budgets, engines)
