"""The grid of (task x seed x method x operating point): run what is missing, then report.

Every run ends in one record file. Run again, finished runs are skipped and an interrupted one goes
on from its last finished epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tokendrop.compare.executors.cluster import Cluster, run_on
from tokendrop.compare.executors.failures import Failures
from tokendrop.compare.executors.here import run_here
from tokendrop.compare.executors.jobs import run_jobs, study_jobs
from tokendrop.compare.executors.shards import WHOLE, Shard
from tokendrop.compare.grid.bundles import Bundle, bundles, missing
from tokendrop.compare.grid.continuing import (
    begin_or_continue,
    check_folder,
    check_same_data,
)
from tokendrop.compare.grid.data import DataOf, is_at_hand, read_data
from tokendrop.compare.grid.engines import check_engines, engine_cells
from tokendrop.compare.grid.floor import check_floor, write_floor
from tokendrop.compare.grid.run import check_cell, number_classes
from tokendrop.compare.grid.settings import Cell, Comparison, Entry, entries, grid
from tokendrop.compare.grid.work import Work
from tokendrop.compare.report.outputs import write_outputs
from tokendrop.compare.report.summary import print_summary
from tokendrop.compare.results import records
from tokendrop.compare.results.floor import floor_path, read_floor, read_floors
from tokendrop.compare.results.frame import results_frame
from tokendrop.compare.results.records import Record
from tokendrop.compare.results.trust import set_aside
from tokendrop.compare.tuning.outcomes import Chosen, Trial
from tokendrop.compare.tuning.tune import (
    check_tuning,
    points,
    tune,
    tune_method,
    tuned_entries,
)
from tokendrop.data import TextData
from tokendrop.errors import InUse
from tokendrop.holding import hold, one_at_a_time
from tokendrop.training.tracking import log_comparison, wants_wandb


def compare(
    comparison: Comparison,
    out: str | Path,
    cluster: Cluster | None = None,
    shard: Shard = WHOLE,
) -> list[Record]:
    """Run the grid and write the tables, figures and the report.

    Args:
        comparison: what to compare.
        out: output folder; finished runs that lie there are kept, and others may join them.
        cluster: whose workers do the runs; this process, if not given.
        shard: which part of the grid to run; the one that finds all others done writes the tables.

    Raises:
        Diverged: some trainings did; the tables are of the other runs.
        UserError: bad input, or a folder that holds runs of other settings or files of something
            else, or is in use.
    """
    out = Path(out)
    check_folder(out)
    with hold(out, None if shard == WHOLE else str(shard)):
        return _compared(comparison, out, cluster, shard)


def _compared(
    comparison: Comparison, out: Path, cluster: Cluster | None, shard: Shard
) -> list[Record]:
    cells = _by_record(grid(comparison), out)
    engines = _by_record(engine_cells(comparison), out)
    begin_or_continue(comparison, out, cells | engines)
    tasks: dict[str, TextData] = {}

    def data_of(task: str, settings: dict[str, Any]) -> TextData:
        """The task's data, read and tokenised once for all methods."""
        if task not in tasks:
            tasks[task] = read_data(task, settings, comparison.backbone)
        return tasks[task]

    check_engines(comparison, missing(engines), data_of)
    for cell in missing(cells):
        check_cell(comparison, cell, data_of(cell.run.task, cell.data))
    for entry in _with_floors(comparison):
        check_floor(entry.task, data_of(entry.task, entry.data), entry.metric)

    known: dict[str, str | None] = {}

    def fingerprint(cell: Cell) -> str | None:
        """What the rows of a run are known by; None where they need not be read, and cannot be."""
        task = cell.run.task
        if task not in known:
            there = task in tasks or is_at_hand(cell.data, comparison.backbone)
            known[task] = _fingerprint(comparison, cell, data_of) if there else None
        return known[task]

    def check_data(cells: Mapping[Path, Cell]) -> None:
        check_same_data(cells, fingerprint)

    def run_known(chosen: Mapping[tuple[str, str], Sequence[Chosen]]) -> None:
        """Make the runs of the methods that are tuned, or need not be."""
        known = _by_record(grid(comparison, chosen), out)
        begin_or_continue(comparison, out, known | engines)
        check_data(known | engines)
        run_here(comparison, bundles(known, engines), shard, out, data_of)

    if comparison.tune is not None:
        check_tuning(comparison, data_of)
        studies = _studies(comparison, out, data_of, cluster, shard, run_known)
        chosen = tune(comparison, out, data_of, studies)
        cells = _by_record(grid(comparison, chosen), out)
        begin_or_continue(comparison, out, cells | engines)
    check_data(cells | engines)
    _write_floors(comparison, cells, out, data_of, fingerprint)
    every = bundles(cells, engines)
    if cluster is None:
        failures = run_here(comparison, every, shard, out, data_of)
    else:
        failures = _run_on(cluster, comparison, shard.part(every), out, data_of)
    if left := len(missing(cells | engines)) - len(failures):
        print(
            f"{left} of {len(cells | engines)} runs are left to other parts; the last one writes "
            f"the tables, and so does tokendrop report {out}"
        )
        failures.check()
        return records.read_records(out)
    with one_at_a_time(out / "results.csv"):
        # all are there by now, those of other parts too
        if found := records.read_records(out):
            _report(comparison, found, out)
    failures.check("the tables are of the other runs" if found else "")
    return found


def _fingerprint(comparison: Comparison, cell: Cell, data_of: DataOf) -> str:
    data = data_of(cell.run.task, cell.data)
    number_classes(comparison, cell.run.task, data)
    return data.fingerprint()


def _run_on(
    cluster: Cluster, comparison: Comparison, every: list[Bundle], out: Path, data_of: DataOf
) -> Failures:
    failures = Failures()
    work = Work(comparison, out)
    units = sum(sum(one.units(work, comparison, data_of).values()) for one in every)
    if not units:
        return failures

    def keep(found: Iterable[Record]) -> None:
        for record in found:
            records.write_record(record, out)

    jobs = run_jobs(comparison, every, out, data_of)
    run_on(cluster, jobs, comparison, out, failures, units, keep)
    return failures


def _studies(
    comparison: Comparison,
    out: Path,
    data_of: DataOf,
    cluster: Cluster | None,
    shard: Shard,
    run_known: Callable[[Mapping[tuple[str, str], Sequence[Chosen]]], None],
) -> Iterable[list[Trial]] | None:
    """The trials of all tuned methods, in order; None if this process makes them one by one.

    While other parts tune the last methods, this one makes the runs of those that are tuned.
    """
    tuned = tuned_entries(comparison)
    if cluster is not None:
        jobs, names = study_jobs(comparison, tuned, out, data_of)
        failures = Failures()
        found = run_on(cluster, jobs, comparison, out, failures)
        failures.check()
        return [found[name] for name in names]
    if shard == WHOLE:
        return None
    # its own first, so that all parts have a share; then those of others that nobody is at
    made: dict[tuple[str, str], list[Trial]] = {}
    by_name = {(entry.task, entry.name): entry for entry in tuned}
    for entry in [*shard.part(tuned), *tuned]:
        if (name := (entry.task, entry.name)) not in made:
            with suppress(InUse):
                made[name] = tune_method(comparison, entry, data_of, out)
    if len(made) < len(tuned):
        run_known({name: points(comparison, by_name[name], found) for name, found in made.items()})
    return [
        made.get((entry.task, entry.name))
        or tune_method(comparison, entry, data_of, out, wait=True)
        for entry in tuned
    ]


def _write_floors(
    comparison: Comparison,
    cells: Mapping[Path, Cell],
    out: Path,
    data_of: DataOf,
    fingerprint: Callable[[Cell], str | None],
) -> None:
    """Make the floors that are asked for, and those that lie there and are of other rows."""
    # a floor is of the same data as the finished runs beside it; alone it may be of others
    measured = {cell.run.task for path, cell in cells.items() if path.is_file()}
    of_task = {cell.run.task: cell for cell in cells.values()}
    for entry in {entry.task: entry for entry in entries(comparison)}.values():
        task, path = entry.task, floor_path(out, entry.task)
        if not comparison.floor and not path.is_file():
            continue
        with one_at_a_time(path):
            set_aside(path, out, again=True)
            new = comparison.floor and (task not in measured or not path.is_file())
            if not new and path.is_file() and task in of_task:
                rows = read_floor(path).data_fingerprint
                new = rows is not None and fingerprint(of_task[task]) not in (None, rows)
            if new:
                write_floor(task, data_of(task, entry.data), entry.metric, out)


def _with_floors(comparison: Comparison) -> Collection[Entry]:
    """For each task that gets a floor, an entry of the grid."""
    return {entry.task: entry for entry in entries(comparison) if comparison.floor}.values()


def _report(comparison: Comparison, found: list[Record], out: Path) -> None:
    """Write the tables, figures and the report of all runs of a folder."""
    floors = read_floors(out)
    written = write_outputs(out, found, floors)
    if wants_wandb(comparison.loggers):
        tables = {"results": results_frame(found, written.analysis)} | written.frames
        log_comparison(out, written.figures, tables, asdict(comparison))
    print_summary(found, floors=floors, analysis=written.analysis)
    print(f"\n{written.places}")


def _by_record(cells: Iterable[Cell], out: Path) -> dict[Path, Cell]:
    """Runs by the files that hold their results."""
    places = ((cell, cell.run) for cell in cells)
    return {
        records.record_path(out, run.method, run.operating_point, run.task, run.seed): cell
        for cell, run in places
    }
