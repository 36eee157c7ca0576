"""Agreement with human rationales over the grid of a comparison: records, CSV file, tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from tokendrop.compare.grid.continuing import go_on
from tokendrop.compare.grid.rationale import Judge, Marked, measure
from tokendrop.compare.grid.run import check_cell, make_data, train_cell
from tokendrop.compare.grid.settings import Cell, Comparison, grid
from tokendrop.data import TextData
from tokendrop.files import write_text
from tokendrop.measure.provenance import provenance
from tokendrop.models.model import load_with
from tokendrop.reducers.dense import Dense
from tokendrop.stored import read_json
from tokendrop.training.tracking import Tracker

METRICS = {
    "accuracy": "Accu-\nracy",
    "kept": "Kept",
    "false_positive_rate": "FPR",
    "precision": "Precision",
    "recall": "Recall",
    "token_f1": "Token F1",
    "iou_f1": "IOU F1",
    "auprc": "AUPRC",
    "comprehensiveness": "Compre-\nhensiveness",
    "sufficiency": "Suffi-\nciency",
}


def compare_rationales(comparison: Comparison, out: Path) -> pd.DataFrame:
    """Train every run of a grid, unless that was done before, and measure what it keeps.

    Args:
        comparison: methods, and tasks with rationales.
        out: output folder; finished runs that lie there are kept, and others may join them.

    Returns:
        what `rationale.csv` holds: for each run one row of the method and one of each control.

    Raises:
        UserError: bad input, a task without rationales, or a folder with runs of other settings.
    """
    cells = {out / "rationales" / f"{cell.run.name}.json": cell for cell in grid(comparison)}
    go_on(comparison, out, cells)
    console = Console(stderr=True)
    # everything is read and checked before anything is trained
    tasks: dict[str, TextData] = {}
    for path, cell in cells.items():
        name = cell.run.task
        if name not in tasks:
            tasks[name] = make_data(cell.data, comparison.backbone)
        if not path.is_file():
            check_cell(comparison, cell, tasks[name])
    # the classes are numbered as the backbone's only once a run was checked
    rows = {name: Marked.of(data.splits["test"], name) for name, data in tasks.items()}
    judges: dict[Path, Judge] = {}
    for number, (path, cell) in enumerate(cells.items(), start=1):
        place = f"[{number}/{len(cells)}] {cell.run.name}"
        if path.is_file():
            console.print(f"{place}: done before")
            continue
        console.print(f"[bold]{place}[/bold]")
        data, marked = tasks[cell.run.task], rows[cell.run.task]
        tracker = Tracker(comparison.loggers, out, cell.run)
        stages, model, _ = train_cell(comparison, cell, data, out, tracker)
        if (tuned := stages[0].model) not in judges:
            fine_tuned = load_with(tuned, Dense()).to(model.backbone.device)
            # runs of one task and seed are neighbours and share it
            judges = {tuned: Judge(fine_tuned, marked, data.settings.batch_size, cell.run.seed)}
        record = _record(comparison, cell, marked, list(measure(model, judges[tuned])))
        write_text(path, json.dumps(record, indent=1) + "\n")
        settings = record["provenance"]["config"]
        tracker.finish(record["agreement"][0], settings, [], stages[-1].model, cell.metric)
    # what lay there before comes after what was asked for
    lying = dict.fromkeys([*cells, *sorted((out / "rationales").glob("*.json"))])
    frame = pd.DataFrame([row for path in lying for row in _rows(_read(path))])
    write_text(out / "rationale.csv", frame.to_csv(index=False))
    return frame


def _record(
    comparison: Comparison, cell: Cell, marked: Marked, found: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        **asdict(cell.run),
        "rows": len(marked.rows),
        "marked_words_cut": round(marked.lost, 6),
        "most_frequent_class": marked.most_frequent_class,
        "agreement": found,
        "provenance": provenance()
        | {"config": asdict(comparison) | asdict(cell), "seed": cell.run.seed},
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


def rationale_tables(found: pd.DataFrame) -> Iterator[Table]:
    """A table for each task: every method, with the controls that keep as many tokens below it.

    Args:
        found: from :func:`compare_rationales`; seeds are averaged over.
    """
    for task, of_task in found.groupby("task", sort=False):
        first = of_task.iloc[0]
        title = (
            f"{task}: {first['rows']} test rows with a rationale, "
            f"{first['most_frequent_class']:.1%} of them of one class"
        )
        if first["marked_words_cut"]:
            title += f", {first['marked_words_cut']:.1%} of the marked words cut"
        caption = (
            "below each method: controls that keep as many tokens of each row, chosen by the "
            "fine-tuned model or at random; their accuracy, comprehensiveness and sufficiency are "
            "the fine-tuned model's."
        )
        if (of_task["kept"] == 1).any():
            caption += (
                " (keeps all): no token was dropped, as by an early exit or the dense model; only "
                "AUPRC says anything, and only the base rate where all tokens go equally deep."
            )
        table = Table("", box=box.SIMPLE_HEAD, title=title, caption=caption)
        for name in METRICS.values():
            table.add_column(name, justify="right")
        for (method, point), rows in of_task.groupby(["method", "operating_point"], sort=False):
            means = rows.groupby("source", sort=False)[list(METRICS)].mean()
            for source, values in means.iterrows():
                name = f"{method} {point}".removesuffix(" default")
                if values["kept"] == 1:
                    name += " (keeps all)"
                cells = [f"{value:.3f}" for value in values]
                is_method = source == "method"
                shown = name if is_method else f"  {source}"
                table.add_row(shown, *cells, style="bold" if is_method else None)
            table.add_section()
        yield table
