"""A run's training: its stages, and the search after them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tokendrop.compare.grid.settings import Cell, Comparison
from tokendrop.compare.grid.work import candidate, module_of, search_folder
from tokendrop.data import TextData
from tokendrop.holding import one_at_a_time
from tokendrop.models.model import TokenDropModel, load_with
from tokendrop.models.placing import cast_weights
from tokendrop.reducers import from_spec, with_changes
from tokendrop.reducers.length_adaptive.search import load_search
from tokendrop.training import recipes
from tokendrop.training.finished import TrainedStage
from tokendrop.training.tracking import Tracker
from tokendrop.training.work import Done, unheard


def train_cell(
    comparison: Comparison,
    cell: Cell,
    data: TextData,
    out: Path,
    tracker: Tracker,
    done: Done = unheard,
) -> tuple[list[TrainedStage], TokenDropModel, dict[str, Any]]:
    """The stages of a run's recipe, and the method at its operating point, with the record of the
    search that found it, if one did. Its weights are of the type that the comparison measures in.
    """
    stages = train_stages(comparison, cell, data, out, tracker, done)
    found: dict[str, Any] = {}
    model = load_trained(cell.reducer, stages[-1])
    if cell.budget is not None:
        model, found = _search(cell, model, stages[-1], data, out, done)
    cast_weights(model.backbone, comparison.evaluate_in)
    return stages, model, found


def train_stages(
    comparison: Comparison,
    cell: Cell,
    data: TextData,
    out: Path,
    tracker: Tracker,
    done: Done = unheard,
    count: int | None = None,
) -> list[TrainedStage]:
    """The stages of a run's recipe, all or so many, trained unless that was done before."""
    module = module_of(comparison, cell)
    trainer = recipes.trainer_maker(tracker.loggers, cell.run.name, comparison.precision)
    return recipes.train(module, data, cell.run.seed, out / "stages", trainer, done, count)


def load_trained(reducer: dict[str, Any], stage: TrainedStage) -> TokenDropModel:
    """A trained method at an operating point, on the accelerator if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return load_with(stage.model, from_spec(reducer)).to(device)


def _search(
    cell: Cell, model: TokenDropModel, stage: TrainedStage, data: TextData, out: Path, done: Done
) -> tuple[TokenDropModel, dict[str, Any]]:
    """The trained method at the best configuration for the cell's budget, and the search's record.

    All budgets of a trained model are points of one search, which is done once.
    """
    assert cell.budget is not None
    task = data.make_task(cell.metric)
    each = candidate(cell, data)
    folder = search_folder(out, stage.folder)
    with one_at_a_time(folder):
        front = load_search()(
            model,
            data.splits["dev"],
            task,
            cell.search,
            folder,
            [cell.budget],
            lambda count: done(each * count),
        )
    chosen = front.at(cell.budget)
    described = {
        "budget": cell.budget,
        "flops_share": round(chosen.share, 6),
        f"dev_{cell.metric}": round(chosen.score, 6),
        "dev_rows": front.rows,
        "configurations_evaluated": len(front.evaluated),
        "search_seconds": round(front.seconds, 2),
        "search_flops": round(front.flops),
    }
    reducer = with_changes(cell.reducer, {"configuration": list(chosen.configuration)})
    return load_trained(reducer, stage), {"search": described}
