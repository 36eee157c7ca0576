"""One trial: a training, what it gave on dev, and what it cost. Test is never looked at."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokendrop.compare.grid.evaluate import evaluate
from tokendrop.compare.grid.settings import Cell, Comparison
from tokendrop.compare.grid.train import load_trained, train_stages
from tokendrop.compare.grid.work import plan_of, search_folder
from tokendrop.compare.tuning.outcomes import Measured, Outcome
from tokendrop.data import TextData
from tokendrop.errors import Diverged
from tokendrop.reducers import from_spec, measured_in_training, with_changes
from tokendrop.reducers.length_adaptive.search import load_search
from tokendrop.reducers.length_adaptive.search.settings import SearchSettings
from tokendrop.training.finished import TrainedStage, finished
from tokendrop.training.tracking import CHOSEN, Tracker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What is tried.

    Attributes:
        cell: the run that it would be, with the first seed.
        points: changes to the arguments by operating point, which need no training.
        search: how its configurations are searched, None for no search.
        epochs: of its own stages; 0 if an earlier trial trained the same.
        estimate: of its cost.
    """

    cell: Cell
    points: Mapping[str, Mapping[str, Any]]
    search: SearchSettings | None
    epochs: int
    estimate: float


def run_trial(
    comparison: Comparison, asked: Asked, data: TextData, out: Path, paid: Collection[str]
) -> Outcome:
    """Train and measure on dev.

    One that diverges, in training or where its points are measured, costs what was expected of it.

    Args:
        comparison: settings common to all runs.
        asked: what is tried.
        data: its task.
        out: output folder; the training goes where a run with the same settings finds it.
        paid: scores of the training rows that earlier trials have paid for, by name.
    """
    try:
        return _tried(comparison, asked, data, out, paid)
    except Diverged as error:
        if finished(plan_of(comparison, asked.cell, data, out)[0].folder) is None:
            raise  # no fault of these settings: all trials begin with the same fine-tuning
        log.warning("%s: %s", asked.cell.run.name, error)
        return Outcome([], asked.epochs, asked.estimate, 0.0, asked.estimate, [], 0.0)


def _tried(
    comparison: Comparison, asked: Asked, data: TextData, out: Path, paid: Collection[str]
) -> Outcome:
    cell = asked.cell
    tracker = Tracker(comparison.loggers, out, cell.run)
    fine_tuning, *own = stages = train_stages(comparison, cell, data, out, tracker)
    numbers = {k.replace("dev/", CHOSEN): v for k, v in stages[-1].chosen.items()}
    tracker.finish(numbers, cell.reducer, [], stages[-1].model, cell.metric)
    training, scores, seconds, epochs = 0, set[str](), 0.0, 0
    for stage in own if asked.epochs else []:
        epochs += stage.epochs  # with patience, fewer than were asked for
        new = stage.scores.keys() - scores - set(paid)
        training += stage.flops - sum(stage.scores.values())
        training += sum(stage.scores[name] for name in new)
        scores |= new
        seconds += stage.seconds
    begun = time.perf_counter()
    points, measuring = _points(asked, stages[-1], data, out)
    return Outcome(
        points,
        epochs,
        training / fine_tuning.unit,
        measuring / fine_tuning.unit,
        asked.estimate,
        sorted(scores),
        round(seconds + time.perf_counter() - begun, 2),
    )


def _points(
    asked: Asked, trained: TrainedStage, data: TextData, out: Path
) -> tuple[list[Measured], float]:
    """What a trained method reaches on dev at all its points, and the FLOPs of finding out."""
    cell = asked.cell
    task = data.make_task(cell.metric)
    points, flops = [], 0.0
    for point, changes in asked.points.items():
        reducer = with_changes(cell.reducer, changes)
        # a method that was not trained is charged for its passes over the split at least
        if asked.epochs and measured_in_training(from_spec(reducer)):
            value, speedup = (trained.chosen[f"dev/{x}"] for x in (cell.metric, "flops_speedup"))
        else:
            found = evaluate(load_trained(reducer, trained), task, data, "dev")
            value = found.metrics[cell.metric]
            speedup = found.flops["packed_dense"] / found.flops["method"]
            flops += found.flops["method"]
        points.append(Measured(point, value, speedup))
    if asked.search is not None:
        place = search_folder(out, trained.folder)
        if not (place / "front.json").is_file():
            # one that a kill cut off would run again, and count, layers that it had shared
            shutil.rmtree(place, ignore_errors=True)
        model = load_trained(cell.reducer, trained)
        front = load_search()(model, data.splits["dev"], task, asked.search, place)
        flops += front.flops
        points += [Measured(None, one.score, 1 / one.share) for one in front.points]
    return points, flops
