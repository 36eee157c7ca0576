"""The report: one HTML file with the verdict, the numbers and the pictures, and nothing outside."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tokendrop.compare.figures import Draw, drawings
from tokendrop.compare.floor import Floor
from tokendrop.compare.published import CAPTION, published_frame
from tokendrop.compare.records import (
    DENSE,
    Point,
    Record,
    by_task,
    dense_point,
    gap,
    ordered,
    points,
)
from tokendrop.compare.statistics import NOTHING, Statistics
from tokendrop.compare.tables import (
    TEXT_COLUMNS,
    display_frame,
    explain,
    heading,
    notes_of,
    provenance_of,
    show_value,
)
from tokendrop.compare.themes import DARK, LIGHT, Theme
from tokendrop.files import write_text

FLOPS, CLOCK = "flops_speedup_unpadded", "throughput_speedup_unpadded"

CAPTIONS = {
    "trade_off_flops": (
        "Quality against FLOPs",
        "Up and to the right is better. The grey steps join the points that no other point beats; "
        "the dashed line is the dense model.",
    ),
    "trade_off_throughput": (
        "Quality against measured speed",
        "The same against the clock, at 32 rows a batch. What FLOPs promise and the clock does not "
        "show is lost to the hardware and to the method's own work.",
    ),
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


def verdict(records: Sequence[Record]) -> list[str]:
    """What the numbers say, in a few sentences: the fastest points near dense, or that none is.

    Near is within 1 and within 2 points of the dense model of the same task; for an error, where
    less is better, within 1 % and 2 % of it. Speed-ups are on the unpadded base, and one on the
    clock counts only where it is above the noise of its measurement.
    """
    sentences = []
    for task, of_task in by_task(records).items():
        dense = dense_point(of_task)
        if dense is None:
            sentences.append(f"On {task} the dense model has not run, so nothing can be compared.")
            continue
        first = dense.runs[0]
        value = show_value(dense.mean("value"), first.higher_is_better)
        sentences.append(
            f"On {task} the dense model reaches {value} {first.metric} on the "
            f"{first.examples_eval:,} rows of the test split."
        )
        one, two = (_fastest(_within(budget, of_task, dense), dense) for budget in (1, 2))
        unit = "points" if first.higher_is_better else "%"
        if one == two:
            sentences.append(f"Within 1 and within 2 {unit} of it {one}.")
        else:
            sentences.append(f"Within 1 {unit.removesuffix('s')} of it {one}.")
            sentences.append(f"Within 2 {unit} of it {two}.")
    return [*sentences, _doubt(records)]


def _within(budget: int, of_task: Sequence[Point], dense: Point) -> list[Point]:
    unit = 0.01 if dense.runs[0].higher_is_better else 0.01 * abs(dense.mean("value"))
    # a loss of exactly the budget is within it, whatever its last binary digit
    limit = -budget * unit - 1e-9
    return [p for p in of_task if p.method != DENSE and gap(p, dense) >= limit]


def _fastest(near: Sequence[Point], dense: Point) -> str:
    timed = [p for p in near if p.mean(CLOCK) > 1 + max(run.clock_noise for run in p.runs)]
    counted = [p for p in near if p.mean(FLOPS) > 1]
    clock = max(timed, key=lambda p: p.mean(CLOCK), default=None)
    flops = max(counted, key=lambda p: p.mean(FLOPS), default=None)
    if clock is not None and clock is flops:
        return (
            f"the fastest is {_described(clock, dense)}: {clock.mean(CLOCK):.2f}x the rows per "
            f"second as measured, {clock.mean(FLOPS):.2f}x fewer FLOPs"
        )
    on_clock = (
        f"the fastest on the clock is {_described(clock, dense)}: {clock.mean(CLOCK):.2f}x"
        if clock
        else "no point is faster on the clock by more than the noise"
    )
    in_flops = (
        f"the fewest FLOPs has {_described(flops, dense)}: {flops.mean(FLOPS):.2f}x fewer"
        if flops
        else "no point saves FLOPs"
    )
    return f"{on_clock}; {in_flops}"


def _described(point: Point, dense: Point) -> str:
    better = gap(point, dense)
    if dense.runs[0].higher_is_better:
        size, sides = f"{100 * abs(better):.2f} points", ("above", "below")
    else:
        size, sides = f"{abs(better):.4f}", ("better than", "worse than")
    return f"{point.name}, {size} {sides[better < 0]} dense"


def _doubt(records: Sequence[Record]) -> str:
    """How far the sentences before can be trusted."""
    seeds = {record.seed for record in records}
    if any({run.seed for run in p.runs} != seeds for ps in by_task(records).values() for p in ps):
        return "Not every point has run with every seed yet, so differences are provisional."
    if len(seeds) > 1:
        return f"These are means over {len(seeds)} seeds, without a test of significance."
    smallest = min(ordered(records), key=lambda record: record.examples_eval)
    rows = smallest.examples_eval
    text = f"One seed only: one row of {rows:,} is {100 / rows:.2f} points"
    if smallest.metric == "accuracy":
        error = math.sqrt(smallest.value * (1 - smallest.value) / rows)
        text += f", the standard error of one accuracy is about {100 * error:.1f} points"
    return f"{text}, and differences of that size are not significant."


def write_report(
    folder: Path,
    records: Sequence[Record],
    floors: Sequence[Floor] = (),
    statistics: Statistics = NOTHING,
) -> Path:
    """Write `report.html`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    frame = display_frame(records, statistics)
    several_tasks = len(by_task(records)) > 1
    theirs = published_frame(by_task(records))
    page = environment.get_template("report.html.jinja").render(
        heading=heading(records),
        verdict=verdict(records),
        columns=list(frame.columns),
        rows=frame.to_numpy().tolist(),
        text_columns=TEXT_COLUMNS,
        dense=DENSE,
        legend={column: explain(column).replace("`", "") for column in frame.columns},
        figures=[
            {
                "title": CAPTIONS[name][0],
                "caption": CAPTIONS[name][1],
                "wide": several_tasks or name == "training",
                "light": _image(draw, LIGHT),
                "dark": _image(draw, DARK),
            }
            for name, draw in drawings(records).items()
        ],
        floors=[floor.sentence for floor in floors],
        published=theirs.to_numpy().tolist(),
        published_columns=list(theirs.columns),
        published_caption=CAPTION,
        several_tasks=several_tasks,
        training=_training(records),
        notes=notes_of(records),
        provenance=provenance_of(records),
        runs=[_run(record) for record in records],
    )
    path = folder / "report.html"
    write_text(path, page)
    return path


def _image(draw: Draw, theme: Theme) -> str:
    buffer = BytesIO()
    draw(buffer, theme)
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _training(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Where the training time went: mean seconds per stage, as shares of the longest recipe."""
    every = points(records)
    longest = max(point.mean("train_seconds") for point in every) or 1.0
    recipes = []
    for point in every:
        stages = []
        for same in zip(*(run.stages for run in point.runs), strict=False):
            seconds = fmean(stage["seconds"] for stage in same)
            stages.append({**same[0], "seconds": seconds, "share": 100 * seconds / longest})
        name, seconds = f"{point.name}, {point.task}", point.mean("train_seconds")
        recipes.append({"name": name, "seconds": seconds, "stages": stages})
    return recipes


def _run(record: Record) -> dict[str, str]:
    """What only this run knows, folded away at the end of the report."""
    content = {
        "metrics": record.metrics,
        "details": record.details,
        "flops": record.flops,
        "timing": record.timing,
        "provenance": record.provenance,
    }
    return {"name": _name(record), "text": json.dumps(content, indent=1, ensure_ascii=False)}


def _name(record: Record) -> str:
    point = Point(record.method, record.operating_point, record.task, (record,))
    return f"{point.name}, {record.task}, seed {record.seed}"
