"""How to search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tokendrop.bounds import Count, Natural, Seed, check_fields


@dataclass(frozen=True)
class SearchSettings:
    """How to search; the defaults are the authors' for SQuAD.

    Attributes:
        generations: after the initial population.
        population: constant-ratio configurations to begin with, beside the two bounds.
        mutations: new configurations by mutation in each generation.
        crossovers: the same by crossover.
        rows: rows of the split that scores are measured on; all if it has fewer.
        seed: of mutation and crossover.
        pareto_ties: of equally dear configurations keep only the best ("fixed"), or the worse as
            well, as the reference does by mistake.
    """

    generations: Natural = 30
    population: Natural = 20
    mutations: Natural = 30
    crossovers: Natural = 30
    rows: Count = 1000
    seed: Seed = 0
    pareto_ties: Literal["fixed", "reference"] = "fixed"

    @property
    def configurations(self) -> int:
        """How many are asked about at most, the two bounds among them."""
        return self.population + 2 + self.generations * (self.mutations + self.crossovers)

    def __post_init__(self) -> None:
        check_fields(self)
