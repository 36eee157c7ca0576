"""A grid in this process, beside others that do other parts of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from rich.console import Console

from tokendrop.compare.executors.failures import Failures
from tokendrop.compare.executors.shards import Shard
from tokendrop.compare.grid.bundles import Bundle
from tokendrop.compare.grid.data import DataOf
from tokendrop.compare.grid.engines import run_engines
from tokendrop.compare.grid.remaining import Remaining
from tokendrop.compare.grid.run import run_cell
from tokendrop.compare.grid.settings import Comparison
from tokendrop.compare.grid.work import Work, plan_of
from tokendrop.compare.results.records import write_record
from tokendrop.errors import Diverged, InUse, UserError
from tokendrop.holding import at_work, is_being_made, one_at_a_time
from tokendrop.training.finished import finished


def run_here(
    comparison: Comparison, every: Sequence[Bundle], shard: Shard, out: Path, data_of: DataOf
) -> Failures:
    """Make the runs of a part of a grid that are not finished, one after the other.

    What would wait for a stage that another process trains comes later. Once its own runs are made,
    it makes those that other parts, which are at work or were killed, have not come to.

    Args:
        comparison: settings common to all runs.
        every: the whole grid.
        shard: which part is this process's own.
        out: output folder; records go there.
        data_of: gives a task's data.

    Returns:
        the runs whose trainings diverged; all others are made.
    """
    here = _Here(comparison, out, data_of)
    mine = shard.part(every)
    here.expect(mine)
    while mine:
        bundle = next((one for one in mine if not here.would_wait(one)), mine[0])
        mine.remove(bundle)
        here.make(bundle)
    for other in shard.others():
        # nothing of a part that has not begun: its process may be meant for another machine
        if at_work(out, str(other)):
            for bundle in reversed(other.part(every)):  # it comes to the last ones last
                if bundle.missing:
                    here.expect([bundle])
                    here.make(bundle)
    return here.failures


class _Here:
    def __init__(self, comparison: Comparison, out: Path, data_of: DataOf) -> None:
        self._comparison, self._out, self._data_of = comparison, out, data_of
        self._console, self._remaining = Console(stderr=True, markup=False), Remaining()
        self._work = Work(comparison, out)
        self._numbers, self._expected = count(1), 0
        self._diverged: dict[Path, Diverged] = {}
        self.failures = Failures()

    def expect(self, bundles: Sequence[Bundle]) -> None:
        """Tell how much work is to come."""
        for bundle in bundles:
            self._expected += len(bundle.names)
            units = bundle.units(self._work, self._comparison, self._data_of)
            for name, amount in units.items():
                self._remaining.add(name, amount)

    def would_wait(self, bundle: Bundle) -> bool:
        """Whether another process trains what the runs begin with."""
        return bool(bundle.missing) and any(is_being_made(one) for one in self._untrained(bundle))

    def _untrained(self, bundle: Bundle) -> list[Path]:
        """The folders of the stages that are still to be trained for the runs, in order."""
        cell = bundle.first
        plan = plan_of(self._comparison, cell, self._data_of(cell.run.task, cell.data), self._out)
        return [one.folder for one in plan if finished(one.folder) is None]

    def make(self, bundle: Bundle) -> None:
        """Make the runs that are not finished, unless another process does or they diverge."""
        with suppress(InUse), one_at_a_time(next(iter(bundle.cells)), wait=False):
            try:
                self._check_start(bundle)
                if bundle.engines:
                    self._make_engines(bundle)
                else:
                    self._make_runs(bundle)
            except Diverged as error:
                self._fail(bundle, error)
            return
        for name in bundle.names:
            self._leave(name, "left to another part")

    def _check_start(self, bundle: Bundle) -> None:
        """Raise again what a stage of the runs raised with others, without training it again."""
        if self._diverged and bundle.missing:
            for folder in self._untrained(bundle):
                if folder in self._diverged:
                    raise self._diverged[folder]

    def _fail(self, bundle: Bundle, error: Diverged) -> None:
        self._diverged |= {folder: error for folder in self._untrained(bundle)[:1]}
        names = [cell.run.name for cell in bundle.missing]
        self.failures.add(names, error)
        for name in bundle.names:
            self._remaining.leave(name)
        self._console.print(f"{', '.join(names)}: {error}")

    def _make_runs(self, bundle: Bundle) -> None:
        for path, cell in bundle.cells.items():
            name = cell.run.name
            if path.is_file():
                self._leave(name, "done before")
                continue
            self._begin(name)
            data = self._data_of(cell.run.task, cell.data)
            try:
                record = run_cell(self._comparison, cell, data, self._out, self._remaining.done)
            except (InUse, Diverged):
                raise
            except UserError as error:  # of a stage or a tensor, which several methods have
                raise UserError(f"{name}: {error}") from error
            write_record(record, self._out)

    def _make_engines(self, bundle: Bundle) -> None:
        if not (missing := bundle.missing):
            self._leave(bundle.name, "done before")
            return
        self._begin(bundle.name)
        data = self._data_of(bundle.first.run.task, bundle.first.data)
        made = run_engines(self._comparison, missing, data, self._out, self._remaining.done)
        for record in made:
            write_record(record, self._out)

    def _begin(self, name: str) -> None:
        self._remaining.begin(name, self._place(name))

    def _leave(self, name: str, why: str) -> None:
        self._remaining.leave(name)
        self._console.print(f"{self._place(name)}: {why}")

    def _place(self, name: str) -> str:
        return f"[{next(self._numbers)}/{self._expected}] {name}"
