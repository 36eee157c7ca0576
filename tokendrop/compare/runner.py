"""The grid of (task x seed x method x operating point): run what is missing, then report.

Every run ends in one record file. Run again, finished runs are skipped and an interrupted one goes
on from its last finished epoch.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import yaml
from rich.console import Console

from tokendrop.compare import records
from tokendrop.compare.floor import floor_path, read_floors, write_floor
from tokendrop.compare.outputs import write_outputs
from tokendrop.compare.records import Record
from tokendrop.compare.report.frames import panel_frames
from tokendrop.compare.results import results_frame
from tokendrop.compare.run import check_search, make_data, run_cell
from tokendrop.compare.settings import Cell, Comparison, grid
from tokendrop.compare.tables import print_summary
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.files import make_folder, write_text
from tokendrop.tracking import log_comparison, wants_wandb


def compare(comparison: Comparison, out: Path) -> list[Record]:
    """Run the grid and write the tables, figures and the report.

    Args:
        comparison: what to compare.
        out: output folder; a folder of the same comparison continues.

    Raises:
        UserError: bad input, or a folder that holds another comparison.
    """
    make_folder(out)
    same_comparison(comparison, out)
    runs = list(grid(comparison))
    console = Console(stderr=True)
    tasks: dict[str, TextData] = {}

    def data_of(cell: Cell) -> TextData:
        """The task's data, read and tokenised once for all methods."""
        if cell.run.task not in tasks:
            tasks[cell.run.task] = make_data(cell.data, comparison.backbone)
        return tasks[cell.run.task]

    for cell in runs:
        if cell.budget is not None and not _path(out, cell).is_file():
            check_search(comparison, cell, data_of(cell))
    for cell in runs if comparison.floor else []:
        if not floor_path(out, cell.run.task).is_file():
            write_floor(cell.run.task, data_of(cell), cell.metric, out)
    for number, cell in enumerate(runs, start=1):
        run = cell.run
        if _path(out, cell).is_file():
            console.print(f"[{number}/{len(runs)}] {run.name}: done before")
            continue
        console.print(f"[bold][{number}/{len(runs)}] {run.name}[/bold]")
        records.write(run_cell(comparison, cell, data_of(cell), out), out)
    found, floors = records.read_all(out), read_floors(out)
    written = write_outputs(out, found, floors)
    if wants_wandb(comparison.loggers):
        tables = {"results": results_frame(found, written.statistics)} | panel_frames(found, out)
        log_comparison(out, written.figures, tables, asdict(comparison))
    print_summary(found, floors=floors, statistics=written.statistics)
    print(f"\n{written.places}")
    return found


def _path(out: Path, cell: Cell) -> Path:
    run = cell.run
    return records.record_path(out, run.method, run.operating_point, run.task, run.seed)


def same_comparison(comparison: Comparison, out: Path) -> None:
    """Refuse to mix the runs of two comparisons in one folder."""
    file = out / "comparison.yaml"
    settings = yaml.safe_dump(asdict(comparison), sort_keys=False)
    if not file.is_file():
        write_text(file, settings)
    elif file.read_text(encoding="utf-8") != settings:
        raise UserError(
            f"{out} holds another comparison (see {file}): name another folder with --out, or "
            "delete this one"
        )
