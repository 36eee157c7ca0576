"""The grid of (task x seed x method x operating point): run what is missing, then report.

Every run ends in one record file. Run again, finished runs are skipped and an interrupted one goes
on from its last finished epoch.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from tokendrop.compare.grid.continuing import begin_or_continue
from tokendrop.compare.grid.remaining import Remaining
from tokendrop.compare.grid.run import check_cell, make_data, run_cell
from tokendrop.compare.grid.settings import Comparison, grid
from tokendrop.compare.grid.work import Work
from tokendrop.compare.report.outputs import write_outputs
from tokendrop.compare.report.summary import print_summary
from tokendrop.compare.results import records
from tokendrop.compare.results.floor import floor_path, read_floors, write_floor
from tokendrop.compare.results.frame import results_frame
from tokendrop.compare.results.records import Record
from tokendrop.compare.results.trust import set_aside
from tokendrop.compare.tuning.tune import check_tuning, tune
from tokendrop.data import TextData
from tokendrop.holding import hold
from tokendrop.training.tracking import Run, log_comparison, wants_wandb


def compare(comparison: Comparison, out: Path) -> list[Record]:
    """Run the grid and write the tables, figures and the report.

    Args:
        comparison: what to compare.
        out: output folder; finished runs that lie there are kept, and others may join them.

    Raises:
        UserError: bad input, or a folder that holds runs of other settings or is in use.
    """
    with hold(out):
        return _compared(comparison, out)


def _compared(comparison: Comparison, out: Path) -> list[Record]:
    cells = {_path(out, cell.run): cell for cell in grid(comparison)}
    begin_or_continue(comparison, out, cells)
    console = Console(stderr=True, markup=False)
    tasks: dict[str, TextData] = {}

    def data_of(task: str, settings: dict[str, Any]) -> TextData:
        """The task's data, read and tokenised once for all methods."""
        if task not in tasks:
            tasks[task] = make_data(settings, comparison.backbone)
        return tasks[task]

    for path, cell in cells.items():
        if not path.is_file():
            check_cell(comparison, cell, data_of(cell.run.task, cell.data))
    if comparison.tune is not None:
        check_tuning(comparison, data_of)
        chosen = tune(comparison, out, data_of)
        cells = {_path(out, cell.run): cell for cell in grid(comparison, chosen)}
        begin_or_continue(comparison, out, cells)
    # a floor is of the same data as the finished runs beside it; alone it may be of others
    measured = {cell.run.task for path, cell in cells.items() if path.is_file()}
    for task, cell in {cell.run.task: cell for cell in cells.values() if comparison.floor}.items():
        set_aside(floor_path(out, task), out, again=True)
        if task not in measured or not floor_path(out, task).is_file():
            write_floor(task, data_of(task, cell.data), cell.metric, out)
    work, remaining = Work(comparison, out), Remaining()
    for path, cell in cells.items():
        if not path.is_file():
            units = work.units(cell, data_of(cell.run.task, cell.data))
            remaining.add(cell.run.name, units)
    for number, (path, cell) in enumerate(cells.items(), start=1):
        place = f"[{number}/{len(cells)}] {cell.run.name}"
        if path.is_file():
            console.print(f"{place}: done before")
            continue
        remaining.begin(cell.run.name, place)
        data = data_of(cell.run.task, cell.data)
        records.write_record(run_cell(comparison, cell, data, out, remaining.done), out)
    found, floors = records.read_records(out), read_floors(out)
    written = write_outputs(out, found, floors)
    if wants_wandb(comparison.loggers):
        tables = {"results": results_frame(found, written.analysis)} | written.frames
        log_comparison(out, written.figures, tables, asdict(comparison))
    print_summary(found, floors=floors, analysis=written.analysis)
    print(f"\n{written.places}")
    return found


def _path(out: Path, run: Run) -> Path:
    return records.record_path(out, run.method, run.operating_point, run.task, run.seed)
