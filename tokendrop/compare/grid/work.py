"""How much work the runs of a comparison are, in the units of :mod:`tokendrop.training.work`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokendrop.compare.grid.settings import Cell, Comparison
from tokendrop.data import TextData
from tokendrop.measure.clock import Clock
from tokendrop.reducers import from_spec
from tokendrop.reducers.length_adaptive.search.candidates import draw_rows
from tokendrop.training import recipes
from tokendrop.training.finished import finished
from tokendrop.training.module import TokenDropModule
from tokendrop.training.saliency import PASSES
from tokendrop.training.stages import BEST_EPOCHS
from tokendrop.training.work import STEP

# dense passes that other work takes the time of
CANDIDATE = 0.5  # of a search: candidates drop tokens, and share layers
ROUND = 5  # of the clock: the dense model twice, the method, and the padded model
SINGLE = 3  # a row alone, against the same row in a batch


class Work:
    """Works out the units of runs, one after the other; what several share counts for the first."""

    def __init__(self, comparison: Comparison, out: Path) -> None:
        """
        Args:
            comparison: settings common to all runs.
            out: output folder; what is finished there is no more work.
        """
        self._comparison = comparison
        self._out = out
        self._counted: set[Path] = set()

    def units(self, cell: Cell, data: TextData) -> float:
        """What a run is that begins after those that were asked about before."""
        train, dev, test = (sum(data.splits[name].lengths) for name in ("train", "dev", "test"))
        plan = plan_of(self._comparison, cell, data, self._out)
        units = test + dev + timed(self._comparison.clock, data.splits["test"].lengths)
        for planned in plan:
            if self._is_new(planned.folder) and finished(planned.folder) is None:
                epochs, passes = planned.stage.epochs, from_spec(planned.spec).passes
                units += STEP * epochs * passes * train + max(1, epochs) * dev
        if (scores := from_spec(cell.reducer).token_scores) is not None:
            file = plan[0].folder / f"{scores}.safetensors"
            if self._is_new(file) and not file.is_file():
                units += PASSES[scores] * min(BEST_EPOCHS, max(1, plan[0].stage.epochs)) * train
        if cell.search is not None:
            place = search_folder(self._out, plan[-1].folder)
            if self._is_new(place) and not (place / "front.json").is_file():
                units += cell.search.configurations * candidate(cell, data)
        return units

    def _is_new(self, path: Path) -> bool:
        new = path not in self._counted
        self._counted.add(path)
        return new


def module_of(comparison: Comparison, cell: Cell) -> TokenDropModule:
    """What trains a run's recipe."""
    return TokenDropModule(
        from_spec(cell.reducer),
        comparison.backbone,
        cell.metric,
        comparison.fine_tune,
        comparison.random_init,
        comparison.compile,
        comparison.patience,
    )


def plan_of(comparison: Comparison, cell: Cell, data: TextData, out: Path) -> list[recipes.Planned]:
    """The stages of a run's recipe and their folders, finished or not; nothing is trained."""
    return recipes.plan(
        module_of(comparison, cell),
        data,
        cell.run.seed,
        out / "stages",
        recipes.trainer_maker([], "", comparison.precision),
    )


def search_folder(out: Path, stage: Path) -> Path:
    """Where the search of the model lies that a stage trained."""
    return out / "search" / stage.name


def candidate(cell: Cell, data: TextData) -> float:
    """Units of a configuration in the search of a run."""
    assert cell.search is not None
    dev = data.splits["dev"]
    return CANDIDATE * sum(dev.lengths[row] for row in draw_rows(dev, cell.search.rows))


def timed(clock: Clock, lengths: Sequence[int], contenders: int = ROUND) -> float:
    """Units of timing a run on rows of so many tokens; each contender has a round to warm up.

    Args:
        clock: how.
        lengths: of the rows.
        contenders: dense passes in a round.
    """
    together, alone = sum(lengths[: clock.rows]), sum(lengths[: clock.single_rows])
    return (clock.rounds + 1) * contenders * (together + SINGLE * alone)
