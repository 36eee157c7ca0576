"""A grid as jobs that wait for each other: stages that runs share, searches for settings, runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokendrop.compare.grid.bundles import Bundle
from tokendrop.compare.grid.data import DataOf
from tokendrop.compare.grid.engines import run_engines
from tokendrop.compare.grid.run import run_cell
from tokendrop.compare.grid.settings import Cell, Comparison, Entry
from tokendrop.compare.grid.train import train_stages
from tokendrop.compare.grid.work import plan_of, search_folder
from tokendrop.compare.results.records import Record
from tokendrop.compare.tuning.outcomes import Outcome, Trial
from tokendrop.compare.tuning.trials import Asked, run_trial
from tokendrop.compare.tuning.tune import journal, tune_method
from tokendrop.reducers import from_spec
from tokendrop.training.finished import finished
from tokendrop.training.tracking import Tracker
from tokendrop.training.work import Done

Beside = Callable[[Sequence["Job"]], list[Any]]
"""Does jobs on workers of their own, side by side, and gives what each gave."""


@dataclass(frozen=True)
class Job:
    """What one worker does in one go.

    Attributes:
        name: of the stage's folder, the study or the run.
        after: the jobs that it waits for.
        reads: folders and files of the output folder, made earlier, that it begins with.
    """

    name: str
    after: tuple[str, ...]
    reads: tuple[str, ...]

    @property
    def makes(self) -> tuple[str, ...]:
        """The names of what was asked for and is missing where it fails."""
        return ()

    @property
    def only_waits(self) -> bool:
        """Whether its work is done by other jobs that it asks for."""
        return False

    def do(
        self, comparison: Comparison, out: Path, data_of: DataOf, done: Done, beside: Beside
    ) -> Any:
        """
        Args:
            comparison: settings common to all runs.
            out: output folder.
            data_of: gives a task's data.
            done: is told how much has been done.
            beside: does jobs that this one waits for.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class StageJob(Job):
    """Trains a stage that runs begin with.

    Attributes:
        cell: the first of these runs.
        count: how many stages of its recipe are there afterwards.
    """

    cell: Cell
    count: int

    def do(
        self, comparison: Comparison, out: Path, data_of: DataOf, done: Done, beside: Beside
    ) -> list[Record]:
        tracker = Tracker(comparison.loggers, out, self.cell.run)
        data = data_of(self.cell.run.task, self.cell.data)
        train_stages(comparison, self.cell, data, out, tracker, done, self.count)
        return []


@dataclass(frozen=True)
class RunJob(Job):
    """Makes a run of the grid, whose stages are there."""

    cell: Cell

    @property
    def makes(self) -> tuple[str, ...]:
        return (self.name,)

    def do(
        self, comparison: Comparison, out: Path, data_of: DataOf, done: Done, beside: Beside
    ) -> list[Record]:
        data = data_of(self.cell.run.task, self.cell.data)
        return [run_cell(comparison, self.cell, data, out, done)]


@dataclass(frozen=True)
class EnginesJob(Job):
    """Makes the runs of the engines on one dense model, whose training is there."""

    cells: tuple[Cell, ...]

    @property
    def makes(self) -> tuple[str, ...]:
        return tuple(cell.run.name for cell in self.cells)

    def do(
        self, comparison: Comparison, out: Path, data_of: DataOf, done: Done, beside: Beside
    ) -> list[Record]:
        run = self.cells[0].run
        data = data_of(run.task, self.cells[0].data)
        return list(run_engines(comparison, self.cells, data, out, done))


@dataclass(frozen=True)
class TrialJob(Job):
    """Makes a trial of a method.

    Attributes:
        asked: what is tried.
        paid: scores of the training rows that earlier trials have paid for.
    """

    asked: Asked
    paid: frozenset[str]

    def do(
        self, comparison: Comparison, out: Path, data_of: DataOf, done: Done, beside: Beside
    ) -> Outcome:
        cell = self.asked.cell
        return run_trial(comparison, self.asked, data_of(cell.run.task, cell.data), out, self.paid)


@dataclass(frozen=True)
class StudyJob(Job):
    """Makes the trials of a method on a task, in the order of one process.

    Attributes:
        entry: the method on its task.
        batch: trials that are made side by side; a single one is made by the job itself.
    """

    entry: Entry
    batch: int

    @property
    def makes(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def only_waits(self) -> bool:
        return self.batch > 1

    def do(
        self, comparison: Comparison, out: Path, data_of: DataOf, done: Done, beside: Beside
    ) -> list[Trial]:
        def trials(every: Sequence[Asked], paid: Collection[str]) -> list[Outcome]:
            return beside(
                [TrialJob(one.cell.run.name, (), (), one, frozenset(paid)) for one in every]
            )

        side_by_side = trials if self.only_waits else None
        return tune_method(comparison, self.entry, data_of, out, side_by_side=side_by_side)


def run_jobs(
    comparison: Comparison, bundles: Iterable[Bundle], out: Path, data_of: DataOf
) -> dict[str, Job]:
    """The jobs of runs, by name, each behind those that it waits for.

    A stage that several runs begin with is one job. Scores of the training rows, which are kept
    beside the fine-tuning, and a search of which several runs are points, are the work of the first
    job that asks for them; the others wait for it.

    Args:
        comparison: settings common to all runs.
        bundles: the runs; those that are finished are no jobs.
        out: output folder; stages that are finished there are no jobs.
        data_of: gives a task's data.
    """
    found: dict[str, Job] = {}
    makers: dict[Path, str] = {}  # of scores and searches, the job that makes them

    def trained(cell: Cell) -> tuple[list[str], list[str], Path]:
        """What a run waits for and reads, once the jobs of its stages are there."""
        waits: list[str] = []
        reads: list[str] = []
        plan = plan_of(comparison, cell, data_of(cell.run.task, cell.data), out)
        scores = from_spec(cell.reducer).token_scores
        for count, planned in enumerate(plan, start=1):
            name = planned.folder.name
            if name in found:
                waits += [*found[name].after, name]
            elif finished(planned.folder) is None:
                if count > 1 and scores is not None:
                    _wait(waits, makers, plan[0].folder / scores, name)
                found[name] = StageJob(name, _once(waits), _once(reads), cell, count)
                waits.append(name)
            else:
                reads.append(str(planned.folder.relative_to(out)))
        return waits, reads, plan[-1].folder

    for bundle in bundles:
        cells, name = bundle.missing, bundle.name
        if not cells:
            continue
        if bundle.engines:
            waits, reads, _ = trained(bundle.first)
            found[name] = EnginesJob(name, _once(waits), _once(reads), tuple(cells))
            continue
        for cell in cells:
            waits, reads, last = trained(cell)
            if cell.search is not None:
                place = search_folder(out, last)
                reads.append(str(place.relative_to(out)))
                _wait(waits, makers, place, cell.run.name)
            found[cell.run.name] = RunJob(cell.run.name, _once(waits), _once(reads), cell)
    return found


def study_jobs(
    comparison: Comparison, tuned: Sequence[Entry], out: Path, data_of: DataOf
) -> tuple[dict[str, Job], list[str]]:
    """The jobs of tuning, by name, and the names of those that give an entry's trials, in order.

    All methods of a task wait for their common start.

    Args:
        comparison: settings common to all runs.
        tuned: methods that have a space, on their tasks.
        out: output folder.
        data_of: gives a task's data.
    """
    found: dict[str, Job] = {}
    names = []
    for entry in tuned:
        first = entry.cell("start", comparison.seeds[0], {})
        planned = plan_of(comparison, first, data_of(entry.task, entry.data), out)[0]
        start, reads = planned.folder.name, [journal(out, entry), out / "stages", out / "search"]
        if start not in found and finished(planned.folder) is None:
            found[start] = StageJob(start, (), (), first, 1)
        name = f"tune {entry.name} on {entry.task}"
        waits = (start,) if start in found else ()
        read = tuple(str(path.relative_to(out)) for path in reads)
        assert comparison.tune is not None
        found[name] = StudyJob(name, waits, read, entry, comparison.tune.batch)
        names.append(name)
    return found, names


def _wait(waits: list[str], makers: dict[Path, str], what: Path, job: str) -> None:
    """Wait for the job that makes something, or be it."""
    maker = makers.setdefault(what, job)
    if maker != job:
        waits.append(maker)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
