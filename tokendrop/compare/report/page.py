"""The page: every panel that applies, put into the templates beside this file."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import count, groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tokendrop.compare.report.calibration import BINS, Calibration, calibrations, reliability
from tokendrop.compare.report.canvas import Draw, methods_of
from tokendrop.compare.report.figures import drawings
from tokendrop.compare.report.numbers import best_cells, latex, markdown
from tokendrop.compare.report.tables import (
    TEXT_COLUMNS,
    display_frame,
    explain,
    heading,
    notes_of,
    provenance_of,
)
from tokendrop.compare.report.tokens import exit_panel, fates_of, kinds_panel, samples_panel
from tokendrop.compare.report.verdict import verdict
from tokendrop.compare.results.floor import Floor
from tokendrop.compare.results.fronts import CAPTION as BUDGETS
from tokendrop.compare.results.fronts import fronts_frame
from tokendrop.compare.results.published import CAPTION as PUBLISHED
from tokendrop.compare.results.published import published_frame
from tokendrop.compare.results.records import DENSE, Point, Record, by_task, points
from tokendrop.compare.results.statistics import NOTHING, Statistics
from tokendrop.files import write_text
from tokendrop.measure.measures import TRADE_OFFS, TRAIN_COST, TRAIN_SECONDS
from tokendrop.themes import DARK, LIGHT

CAPTIONS = {
    **{shown.name: (shown.title, shown.caption) for _, shown in TRADE_OFFS},
    "kept_tokens": (
        "Tokens processed in each layer",
        "Mean share of a text's tokens that a layer worked on. A row that has left early counts "
        "with none of its tokens.",
    ),
    "training": (
        "Training",
        "The metric on the dev split after each epoch; a vertical line begins a stage.",
    ),
}


def write_report(
    folder: Path,
    records: Sequence[Record],
    floors: Sequence[Floor] = (),
    statistics: Statistics = NOTHING,
) -> Path:
    """Write ``report.html``.

    Args:
        folder: of the comparison; the files that records name lie there.
        records: what to report, at least one.
        floors: shown below the table.
        statistics: of the points; their intervals enter the verdict, the table and the curves.

    Raises:
        UserError: a file that a record names is missing or torn.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(
        heading=heading(records),
        verdict=verdict(records, statistics),
        numbers=_numbers(records, statistics),
        figures=_figures(records, statistics),
        floors=[floor.sentence for floor in floors],
        several_tasks=len(by_task(records)) > 1,
        training=_training(records),
        notes=notes_of(records),
        provenance=provenance_of(records),
        points=[_recorded(point) for of_task in by_task(records).values() for point in of_task],
        published=_panel(published_frame(by_task(records)), PUBLISHED),
        budgets=_panel(fronts_frame(records), BUDGETS),
        calibration=_calibration(calibrations(records, folder)),
        **_tokens(records, folder),
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def _numbers(records: Sequence[Record], statistics: Statistics) -> dict[str, Any]:
    """A table for each task, in the order of the points below the page."""
    tables: list[dict[str, Any]] = []
    number = count(1)
    for of_task in by_task(records).values():
        runs = _runs(of_task)
        # the seconds of training have a panel of their own
        frame = display_frame(runs, statistics).drop(columns=TRAIN_SECONDS.column)
        best = best_cells(runs, frame)
        tables.append(
            {
                "heading": heading(runs),
                "columns": list(frame.columns),
                "rows": [
                    {
                        "number": next(number),
                        "cells": cells,
                        "best": [column in columns for column in frame.columns],
                    }
                    for cells, columns in zip(frame.to_numpy().tolist(), best, strict=True)
                ],
                "any_best": any(best),
                "latex": latex(frame, best, heading(runs)),
                "markdown": markdown(frame, best),
            }
        )
    columns = dict.fromkeys(column for table in tables for column in table["columns"])
    return {
        "tables": tables,
        "words": TEXT_COLUMNS,
        "dense": DENSE,
        "any_best": any(table["any_best"] for table in tables),
        "legend": {column: explain(column).replace("`", "") for column in columns},
    }


def _figures(records: Sequence[Record], statistics: Statistics) -> dict[str, dict[str, Any]]:
    """The figures, a picture for each task, and of training for each method of it.

    Pictures of one panel stand beside each other or, on a phone, below each other.
    """
    methods = methods_of(records)
    pictures: dict[str, list[str]] = {}
    for of_task in by_task(records).values():
        for name, draw in drawings(_runs(of_task), statistics, methods).items():
            if name != "training":
                pictures.setdefault(name, []).append(_image(draw))
        for _, mine in groupby(of_task, key=lambda point: point.method):
            if draw_training := drawings(_runs(mine), statistics, methods).get("training"):
                pictures.setdefault("training", []).append(_image(draw_training))
    return {
        name: {"title": title, "caption": caption, "pictures": pictures[name]}
        for name, (title, caption) in CAPTIONS.items()
        if name in pictures
    }


def _runs(points: Iterable[Point]) -> list[Record]:
    return [run for point in points for run in point.runs]


def _image(draw: Draw) -> str:
    """A figure as a source, drawn for light paper and recoloured by the viewer for dark."""
    buffer = BytesIO()
    draw(buffer, LIGHT)
    style = f"<style>@media (prefers-color-scheme: dark) {{ {RECOLOURED} }}</style></svg>"
    picture = buffer.getvalue().decode().replace("</svg>", style)
    return f"data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()}"


# colours stand in the style of each element; a rule of its own is stronger only if it insists
RECOLOURED = " ".join(
    f'[style*="{what}: {light}"] {{ {what}: {dark} !important }}'
    for light, dark in zip(LIGHT.colors, DARK.colors, strict=True)
    for what in ("fill", "stroke")
)


def _tokens(records: Sequence[Record], folder: Path) -> dict[str, Any]:
    fates = fates_of(records, folder)
    return {
        "exits": exit_panel(fates),
        "kinds": kinds_panel(fates),
        "samples": samples_panel(fates),
        "deepest": max((fate.layers for fate in fates), default=0),
    }


def _calibration(found: Sequence[Calibration]) -> dict[str, Any] | None:
    if not found:
        return None
    return {
        "title": "Calibration",
        "caption": "How often the answers are right that a method is so sure of; on the grey line "
        "it is as often as it says. The thin line is the dense model. Below: the expected "
        f"calibration error over {BINS} equal bins of confidence, smaller is better.",
        "pictures": [_image(draw) for draw in reliability(found)],
        "errors": [
            {"name": f"{one.point.name}, {one.point.task}", "error": f"{100 * one.error:.1f} %"}
            for one in found
        ],
    }


def _panel(frame: pd.DataFrame, caption: str) -> dict[str, Any] | None:
    if not len(frame):
        return None
    return {"columns": list(frame.columns), "rows": frame.to_numpy().tolist(), "caption": caption}


def _training(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Where the training time went: mean seconds per stage, as shares of the longest recipe."""
    every = [point for point in points(records) if any(run.stages for run in point.runs)]
    longest = max((point.mean(TRAIN_SECONDS) for point in every), default=0.0) or 1.0
    recipes = []
    for point in every:
        stages = []
        for same in zip(*(run.stages for run in point.runs), strict=False):
            seconds = fmean(stage["seconds"] for stage in same)
            stages.append({**same[0], "seconds": seconds, "share": 100 * seconds / longest})
        recipes.append(
            {
                "name": f"{point.name}, {point.task}",
                "seconds": point.mean(TRAIN_SECONDS),
                "cost": point.mean(TRAIN_COST),
                "stages": stages,
            }
        )
    return recipes


def _recorded(point: Point) -> dict[str, Any]:
    """All that the runs of a point recorded, in the order of the table's rows."""
    runs = []
    for record in point.runs:
        content = {
            "metrics": record.metrics,
            "details": record.details,
            "flops": record.flops,
            "timing": record.timing,
            "provenance": record.provenance,
        }
        text = json.dumps(content, indent=1, ensure_ascii=False)
        runs.append({"seed": record.seed, "reached": f"{record.value:.6g}", "text": text})
    return {"name": f"{point.name}, {point.task}", "metric": point.runs[0].metric, "runs": runs}
