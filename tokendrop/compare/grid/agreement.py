"""Agreement with human rationales over the grid of a comparison: records and CSV file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from tokendrop.compare.grid.continuing import (
    begin_or_continue,
    check_folder,
    check_same_data,
)
from tokendrop.compare.grid.data import read_data
from tokendrop.compare.grid.rationale import Judge, Marked, measure_agreement
from tokendrop.compare.grid.run import check_cell, number_classes
from tokendrop.compare.grid.settings import Cell, Comparison, grid
from tokendrop.compare.grid.train import train_cell
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.files import write_text
from tokendrop.holding import hold
from tokendrop.measure.provenance import provenance
from tokendrop.models.fingerprint import backbone_fingerprint
from tokendrop.models.model import load_with
from tokendrop.reducers import from_spec
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.own_code import code_of
from tokendrop.stored import read_json
from tokendrop.training.tracking import Tracker


def compare_rationales(comparison: Comparison, out: Path) -> pd.DataFrame:
    """Train every run of a grid, unless that was done before, and measure what it keeps.

    Args:
        comparison: methods, and tasks with rationales.
        out: output folder; finished runs that lie there are kept, and others may join them.

    Returns:
        what `rationale.csv` holds: for each run one row of the method and one of each control.

    Raises:
        UserError: bad input, a task without rationales, settings that mean nothing here, or a
            folder with runs of other settings or files of something else.
    """
    if comparison.tune is not None:
        raise UserError(
            "tokendrop rationale tunes no methods: give them the arguments that tokendrop compare "
            "has found, without tune and space"
        )
    if comparison.evaluate_in != "fp32":
        raise UserError(
            "tokendrop rationale measures in fp32: leave evaluate_in out, which changes nothing "
            "about the training that is found"
        )
    if comparison.engines:
        raise UserError(
            "tokendrop rationale runs no engines, whose models drop no token: leave engines out, "
            "or give --engines '[]'"
        )
    check_folder(out)
    with hold(out):
        return _compared(comparison, out)


def _compared(comparison: Comparison, out: Path) -> pd.DataFrame:
    cells = {out / "rationales" / f"{cell.run.file_name}.json": cell for cell in grid(comparison)}
    begin_or_continue(comparison, out, cells)
    console = Console(stderr=True, markup=False)
    # everything is read and checked before anything is trained
    tasks: dict[str, TextData] = {}
    for path, cell in cells.items():
        name = cell.run.task
        if name not in tasks:
            tasks[name] = read_data(name, cell.data, comparison.backbone)
            number_classes(comparison, name, tasks[name])
        if not path.is_file():
            check_cell(comparison, cell, tasks[name])
    rows = {
        name: Marked.of(data.splits["test"], name, data.settings.rationale)
        for name, data in tasks.items()
    }
    prints = {name: marked.fingerprint(tasks[name]) for name, marked in rows.items()}
    check_same_data(cells, lambda cell: prints[cell.run.task])
    judges: dict[Path, Judge] = {}
    for number, (path, cell) in enumerate(cells.items(), start=1):
        place = f"[{number}/{len(cells)}] {cell.run.name}"
        if path.is_file():
            console.print(f"{place}: done before")
            continue
        console.print(place, style="bold")
        data, marked = tasks[cell.run.task], rows[cell.run.task]
        tracker = Tracker(comparison.loggers, out, cell.run)
        stages, model, _ = train_cell(comparison, cell, data, out, tracker)
        if (tuned := stages[0].model) not in judges:
            fine_tuned = load_with(tuned, Dense()).to(model.backbone.device)
            # runs of one task and seed are neighbours and share it
            judges = {tuned: Judge(fine_tuned, marked, data.settings.batch_size, cell.run.seed)}
        found = list(measure_agreement(model, judges[tuned]))
        record = _record(comparison, cell, marked, prints[cell.run.task], found)
        write_text(path, json.dumps(record, indent=1) + "\n", summed=True)
        settings = record["provenance"]["config"]
        tracker.finish(record["agreement"][0], settings, [], stages[-1].model, cell.metric)
    # what lay there before comes after what was asked for
    lying = dict.fromkeys([*cells, *sorted((out / "rationales").glob("*.json"))])
    frame = pd.DataFrame([row for path in lying for row in _rows(_read(path))])
    write_text(out / "rationale.csv", frame.to_csv(index=False))
    return frame


def _record(
    comparison: Comparison,
    cell: Cell,
    marked: Marked,
    fingerprint: str,
    found: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        **asdict(cell.run),
        "rows": len(marked.rows),
        "marked_words_cut": round(marked.lost, 6),
        "most_frequent_class": marked.most_frequent_class,
        "agreement": found,
        "provenance": provenance()
        | {
            "config": asdict(comparison) | asdict(cell),
            "data_fingerprint": fingerprint,
            "backbone_fingerprint": backbone_fingerprint(
                comparison.backbone, comparison.random_init
            ),
            "code": code_of(from_spec(cell.reducer)),
            "seed": cell.run.seed,
        },
    }


@dataclass(frozen=True, kw_only=True)
class _Record:
    """The file of a run."""

    task: str
    method: str
    operating_point: str
    seed: int
    rows: int
    marked_words_cut: float
    most_frequent_class: float
    agreement: list[dict[str, str | float]]
    provenance: dict[str, Any]


def _read(path: Path) -> _Record:
    what = "a whole record of the agreement with rationales"
    return read_json(path, _Record, what, "delete it and run again")


def _rows(record: _Record) -> Iterator[dict[str, Any]]:
    common = {k: v for k, v in vars(record).items() if k not in ("agreement", "provenance")}
    for row in record.agreement:
        yield {**common, **row}
