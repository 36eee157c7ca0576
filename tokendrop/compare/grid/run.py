"""One run of the grid, from data to record: train, evaluate, time."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tokendrop.compare.grid.data import settings_of
from tokendrop.compare.grid.evaluate import evaluate
from tokendrop.compare.grid.recording import Begun, record_of
from tokendrop.compare.grid.saving import save_fates
from tokendrop.compare.grid.settings import Cell, Comparison
from tokendrop.compare.grid.train import train_cell
from tokendrop.compare.grid.work import timed
from tokendrop.compare.results.fates import spread
from tokendrop.compare.results.points import KEEPS_ALL
from tokendrop.compare.results.records import MARK, Record
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.holding import one_at_a_time
from tokendrop.measure.clock import Clock, measure_speed
from tokendrop.measure.measures import SPEEDUPS
from tokendrop.models.backbones import shape_of
from tokendrop.models.cards import Figures, write_figures
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers import from_spec
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.given import description_of, stages_of
from tokendrop.reducers.length_adaptive.search import load_search
from tokendrop.reducers.length_adaptive.search.candidates import draw_rows
from tokendrop.reducers.length_adaptive.search.costs import Costs, searchable
from tokendrop.training import recipes
from tokendrop.training.finished import TrainedStage
from tokendrop.training.tracking import Tracker
from tokendrop.training.work import Done, unheard

log = logging.getLogger(__name__)


def check_cell(comparison: Comparison, cell: Cell, data: TextData) -> None:
    """Find out whether a run can be made at all, before any other takes its hours.

    Raises:
        UserError: bad data, arguments that do not fit the backbone or the task, a method that
            cannot be searched, or a budget that is out of its reach.
    """
    reducer = from_spec(cell.reducer)
    try:
        with settings_of(cell.run.task):
            data.make_task(cell.metric)
            config = recipes.backbone_config(
                comparison.backbone, comparison.random_init, data, comparison.fine_tune
            )
            shape = shape_of(config, data.longest, data.task)
            reducer.build(shape)
            stages_of(reducer)
            if cell.budget is not None and cell.search is not None:
                load_search()
                dev = data.splits["dev"]
                lengths = [dev.lengths[row] for row in draw_rows(dev, cell.search.rows)]
                Costs(searchable(reducer), config, shape, lengths).check([cell.budget])
    except UserError as error:
        run = cell.run
        raise UserError(f"{run.method} {run.operating_point} on {run.task}: {error}") from error


def number_classes(comparison: Comparison, task: str, data: TextData) -> None:
    """Number the classes of a task as the backbone does, as they are in every run.

    Raises:
        UserError: see :func:`tokendrop.training.recipes.backbone_config`.
    """
    with settings_of(task):
        recipes.backbone_config(
            comparison.backbone, comparison.random_init, data, comparison.fine_tune
        )


def run_cell(
    comparison: Comparison, cell: Cell, data: TextData, out: Path, done: Done = unheard
) -> Record:
    """Train a method at an operating point, unless that was done before, and measure it.

    Args:
        comparison: settings common to all runs.
        cell: the run.
        data: its task, from :func:`make_data`.
        out: output folder; stages, logs and predictions go there.
        done: is told how much has been done, in the units of :mod:`tokendrop.training.work`.
    """
    begun, run = Begun(), cell.run
    tracker = Tracker(comparison.loggers, out, run)
    stages, model, searched = train_cell(comparison, cell, data, out, tracker, done)
    task = data.make_task(cell.metric)
    found = evaluate(model, task, data, "test")
    on_dev = evaluate(model, task, data, "dev")
    done(sum(data.splits["test"].lengths) + sum(data.splits["dev"].lengths))
    rows = spread(len(data.splits["test"]), comparison.samples)
    shown = model.predict([data.splits["test"].texts[row] for row in rows])
    trained = [stage_record(stage) for stage in stages]
    if searched:
        trained.append(_search_record(searched["search"]))
    batches, singles = _time(comparison.clock, model, data)
    done(timed(comparison.clock, data.splits["test"].lengths))
    caveat = model.reducer.caveat()
    kept_all = _kept_all(model.reducer, found.kept["tokens"])
    if kept_all:
        log.warning("%s: %s", run.name, kept_all)
    record = record_of(
        comparison,
        cell,
        data,
        out,
        begun,
        test=found,
        dev=on_dev,
        batches=batches,
        singles=singles,
        stages=trained,
        kept_tokens_mean=found.kept["tokens"],
        layers_mean=found.kept["layers"],
        kept_tokens_per_layer=found.kept["per_layer"],
        details=description_of(model.reducer)
        | searched
        | ({"tuning": cell.tuning} if cell.tuning else {})
        | {"model": str(stages[-1].model.relative_to(out)), "reducer": model.reducer.spec()}
        | ({"caveat": caveat} if caveat else {})
        | ({"reference": True} if model.reducer.reference else {}),
        # a caveat has the mark that its row has in tables
        notes=[
            note
            for note in (
                model.reducer.note,
                truncation(data),
                caveat and f"{MARK} {caveat}",
                kept_all,
            )
            if note
        ],
        fates_file=save_fates(out, run, found, dict(zip(rows, shown, strict=True)), model, data),
    )
    model.figures = _figures(record, comparison.backbone)
    # other points of the same training may be measured by other parts of the comparison
    with one_at_a_time(stages[-1].model):
        write_figures(stages[-1].model, model.summary)
    settings = record.provenance["config"]
    tracker.finish(asdict(record), settings, shown, stages[-1].model, cell.metric)
    return record


def _figures(record: Record, backbone: str) -> Figures:
    """What the model's card tells."""
    return Figures(
        task=record.task,
        backbone=backbone,
        split="test",
        examples=record.examples_eval,
        metrics=record.metrics,
        kept_tokens=record.kept_tokens_mean,
        layers=record.layers_mean,
        seed=record.seed,
        speedups={measure.name: record.measured(measure) for measure in SPEEDUPS},
        provenance=record.provenance,
    )


def _time(
    clock: Clock, model: TokenDropModel, data: TextData
) -> tuple[dict[str, Any], dict[str, Any]]:
    rows = data.splits["test"].input_ids
    batches = measure_speed(model, rows[: clock.rows], 32, clock.rounds, "time 32 rows at once")
    singles = rows[: clock.single_rows]
    return batches, measure_speed(model, singles, 1, clock.rounds, "time single rows")


def stage_record(stage: TrainedStage) -> dict[str, Any]:
    """What a record says of a stage."""
    curve = [
        {
            "epoch": int(metrics["epoch"]),
            "metrics": {k.removeprefix("dev/"): v for k, v in metrics.items() if k != "epoch"},
        }
        for metrics in stage.curve
    ]
    return {
        "name": stage.name,
        "epochs": stage.epochs,
        "seconds": stage.seconds,
        "flops": stage.flops,
        "curve": curve,
    } | ({"epoch_flops": stage.epoch_flops} if stage.epoch_flops else {})


def _search_record(found: dict[str, Any]) -> dict[str, Any]:
    """The search behind a method's points, as the stage of its recipe that it is."""
    return {
        "name": "evolutionary_search",
        "epochs": 0,
        "seconds": found["search_seconds"],
        "flops": found["search_flops"],
        "curve": [],
    }


def _kept_all(reducer: Reducer, kept: float) -> str:
    """That a method which should drop something does not, with the cure; "" where it does."""
    if reducer.reference or kept <= KEEPS_ALL:
        return ""
    said = f"Drops nothing: {100 * kept:.1f} % of tokens x layers stay"
    cure = reducer.cure_for_keeping_all()
    return f"{said}; {cure}." if cure else f"{said}."


def truncation(data: TextData) -> str:
    """How many test texts were cut, "" if none was."""
    cut = data.splits["test"].truncated
    if not cut:
        return ""
    return f"{cut} of {len(data.splits['test'])} test texts were cut to {data.longest} tokens."
