"""The dense model of a comparison in engines that people deploy: yardsticks beside the methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from tokendrop.compare.grid.arguments import Arguments
from tokendrop.compare.grid.data import DataOf, settings_of
from tokendrop.compare.grid.evaluate import Answered
from tokendrop.compare.grid.method import Method
from tokendrop.compare.grid.recording import Begun, record_of
from tokendrop.compare.grid.run import stage_record, truncation
from tokendrop.compare.grid.settings import Cell, Comparison, grid
from tokendrop.compare.grid.train import load_trained, train_stages
from tokendrop.compare.grid.work import Work, timed
from tokendrop.compare.results.records import Record
from tokendrop.data import TextData
from tokendrop.data.batching import Batches, chunks, padded_lengths
from tokendrop.deploy.check import Rows
from tokendrop.deploy.engines import (
    ENGINES,
    Infer,
    check_installed,
    check_size,
    dense_runs,
)
from tokendrop.errors import UserError
from tokendrop.measure.engine_clock import ORDERS, in_order, measure_engines
from tokendrop.measure.flops import dense_flops
from tokendrop.models.model import TokenDropModel
from tokendrop.tasks import Task, kind_named
from tokendrop.training import recipes
from tokendrop.training.tracking import Tracker
from tokendrop.training.work import Done, unheard

NOTE = (
    "No method: the dense model in an engine, on padded batches of rows as they arrive or sorted "
    "by length; int8 is dynamic, with a scale for each output of a layer."
)


def engine_cells(comparison: Comparison) -> Iterator[Cell]:
    """The runs of the engines: each in both orders, on every task with every seed.

    Raises:
        UserError: a method has the name of an engine.
    """
    for name in comparison.engines:
        if name in comparison.methods:
            raise UserError(f"methods.{name} has the name of an engine: give it another one")
    points = dict.fromkeys(ORDERS, Arguments())
    engines: dict[str, Method] = {
        name: Method("Dense", operating_points=points) for name in comparison.engines
    }
    if engines:
        yield from grid(replace(comparison, methods=engines, tune=None, engines=[]))


def check_engines(
    comparison: Comparison,
    cells: Sequence[Cell],
    data_of: DataOf,
) -> None:
    """Find out whether engines can run the dense models at all, before anything is trained.

    Raises:
        UserError: one is not installed, what is compared with it would run elsewhere or in other
            weights, or the model is too large.
    """
    if not cells:
        return
    check_installed(sorted({ENGINES[name].package for name in comparison.engines}))
    if comparison.evaluate_in != "fp32":
        raise UserError(
            f"engines are compared with models in fp32, and evaluate_in is "
            f"{comparison.evaluate_in}: leave out one of the two"
        )
    if torch.cuda.is_available():
        raise UserError(
            "engines run on the processor, and this comparison would be measured on the GPU: leave "
            "engines out, or hide the GPU with CUDA_VISIBLE_DEVICES="
        )
    for cell in {cell.run.task: cell for cell in cells}.values():
        data = data_of(cell.run.task, cell.data)
        with settings_of(cell.run.task):
            config = recipes.backbone_config(
                comparison.backbone, comparison.random_init, data, comparison.fine_tune
            )
        with torch.device("meta"):
            check_size(kind_named(data.task).head.auto.from_config(config))


def of_engines(work: Work, comparison: Comparison, cells: Sequence[Cell], data: TextData) -> float:
    """How much work the runs of one model are."""
    more = timed(comparison.clock, data.splits["test"].lengths, len(cells))
    return work.units(cells[0], data) + (len(cells) - 1) * _tokens(data) + more


def run_engines(
    comparison: Comparison, cells: Sequence[Cell], data: TextData, out: Path, done: Done = unheard
) -> Iterator[Record]:
    """Train the dense model, unless that was done before, and measure it in engines, all of them
    interleaved.

    Args:
        comparison: settings common to all runs.
        cells: runs of one model.
        data: its task.
        out: output folder of the comparison.
        done: is told how much has been done, in the units of :mod:`tokendrop.training.work`.

    Yields:
        the record of each run.
    """
    begun = Begun()
    tracker = Tracker(_loggers(comparison), out, cells[0].run)
    stages = train_stages(comparison, cells[0], data, out, tracker, done)
    model, clock = load_trained(cells[0].reducer, stages[-1]), comparison.clock
    model.eval()
    engines = {cell.run.method: ENGINES[cell.run.method] for cell in cells}
    every = dense_runs(model.backbone, sorted({engine.package for engine in engines.values()}))
    runs = {name: every[engine.run] for name, engine in engines.items()}
    split = data.splits["test"]
    rows = Rows(split.input_ids, split.token_type_ids, "of the test split")
    few, fewer = (rows.at(range(min(n, len(rows)))) for n in (clock.rows, clock.single_rows))
    batches = measure_engines(model, runs, few, 32, clock.rounds, "time engines, 32 rows at once")
    singles = measure_engines(model, runs, fewer, 1, clock.rounds, "time engines, single rows")
    done(timed(clock, split.lengths) + timed(clock, split.lengths, len(cells)))
    task, trained = data.make_task(cells[0].metric), [stage_record(stage) for stage in stages]
    for cell in cells:
        run, engine, order = cell.run, engines[cell.run.method], cell.run.operating_point
        found, on_dev = (
            _answered(model, runs[run.method], order, task, data, name) for name in ("test", "dev")
        )
        done(_tokens(data))
        batch, single = batches[run.method, order], singles[run.method, order]
        record = record_of(
            comparison,
            cell,
            data,
            out,
            begun,
            test=found,
            dev=on_dev,
            batches=batch,
            singles=single,
            stages=trained,
            kept_tokens_mean=1.0,
            layers_mean=float(model.shape.layers),
            kept_tokens_per_layer=[1.0] * model.shape.layers,
            details={
                "engine": engine.title,
                "engine_version": version(engine.package),
                "model": str(stages[-1].model.relative_to(out)),
            },
            notes=[note for note in (NOTE, truncation(data)) if note],
        )
        if cell is not cells[0]:
            tracker = Tracker(_loggers(comparison), out, run)
        settings = record.provenance["config"]
        tracker.finish(asdict(record), settings, [], stages[-1].model, cell.metric)
        yield record


def _answered(
    model: TokenDropModel,
    infer: Infer,
    order: str,
    task: Task,
    data: TextData,
    name: Literal["dev", "test"],
) -> Answered:
    """Answer a split in padded batches; the scales of int8 are those of a batch."""
    split, size = data.splits[name], data.settings.batch_size
    rows = Rows(split.input_ids, split.token_type_ids, f"of the {name} split")
    scores = task.scores(split)
    places = in_order(split.lengths, order)
    for batch in Batches(split, chunks(places, size)):
        given = rows.at(batch.numbers).padded()
        logits = infer(given)
        if logits.ndim == 3:  # of every token, without those of the padding
            logits = logits[given["attention_mask"] == 1]
        scores.update(torch.from_numpy(logits), batch)
    whole = {
        "method": padded_lengths([split.lengths[place] for place in places], size),
        "packed_dense": split.lengths,
        "padded_dense": padded_lengths(split.lengths, size),
    }
    return Answered(
        scores.values(task.metric),
        scores.examples(),
        {
            who: float(dense_flops(lengths, model.backbone, model.shape))
            for who, lengths in whole.items()
        },
    )


def _tokens(data: TextData) -> int:
    return sum(data.splits["test"].lengths) + sum(data.splits["dev"].lengths)


def _loggers(comparison: Comparison) -> list[Any]:
    """Those of the comparison; the model is logged by the run of the dense method."""
    return ["wandb" if kind == "wandb_models" else kind for kind in comparison.loggers]
