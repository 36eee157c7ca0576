"""The runs of a grid by what is trained for them: a bundle is made by one process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokendrop.compare.grid.data import DataOf
from tokendrop.compare.grid.engines import of_engines
from tokendrop.compare.grid.settings import Cell, Comparison
from tokendrop.compare.grid.work import Work
from tokendrop.reducers import from_spec


@dataclass(frozen=True)
class Bundle:
    """Runs of one training: operating points of a method, or engines on the dense model.

    Attributes:
        cells: the runs, by their records.
        engines: whether they are engines, which are measured interleaved.
    """

    cells: Mapping[Path, Cell]
    engines: bool = False

    @property
    def first(self) -> Cell:
        """One that stands for the training of all."""
        return next(iter(self.cells.values()))

    @property
    def name(self) -> str:
        """What the whole is called."""
        run = self.first.run
        return f"engines on {run.task}, seed {run.seed}" if self.engines else run.name

    @property
    def names(self) -> list[str]:
        """What is begun in one go each: every run, but all engines together."""
        return [self.name] if self.engines else [cell.run.name for cell in self.cells.values()]

    @property
    def missing(self) -> list[Cell]:
        """The runs of which no record lies there."""
        return missing(self.cells)

    def units(self, work: Work, comparison: Comparison, data_of: DataOf) -> dict[str, float]:
        """How much work is missing, by :attr:`names`."""
        cells = self.missing
        if not cells:
            return {}
        data = data_of(self.first.run.task, self.first.data)
        if self.engines:
            return {self.name: of_engines(work, comparison, cells, data)}
        return {cell.run.name: work.units(cell, data) for cell in cells}


def missing(cells: Mapping[Path, Cell]) -> list[Cell]:
    """Those of the runs, by their records, of which none lies there."""
    return [cell for path, cell in cells.items() if not path.is_file()]


def bundles(cells: Mapping[Path, Cell], engines: Mapping[Path, Cell]) -> list[Bundle]:
    """The runs of a grid in order, engines last; each one is in one bundle.

    Args:
        cells: runs of methods, by their records.
        engines: runs of engines.
    """
    return [*_by_training(cells), *_by_training(engines, engines=True)]


def _by_training(cells: Mapping[Path, Cell], *, engines: bool = False) -> list[Bundle]:
    found: dict[tuple[str, int, str], dict[Path, Cell]] = {}
    for path, cell in cells.items():
        trained = json.dumps(from_spec(cell.reducer).spec(trained=True), sort_keys=True)
        found.setdefault((cell.run.task, cell.run.seed, trained), {})[path] = cell
    return [Bundle(of_one, engines) for of_one in found.values()]
