"""The evolutionary search of Length-Adaptive Transformer, as a pymoo algorithm.

A genome is a length configuration, L >= l_1 >= ... >= l_N >= 2. Two objectives: few FLOPs, a high
score. Each generation keeps the Pareto front and adds mutated and crossed genomes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from moocore import hypervolume
from numpy.typing import NDArray
from pymoo.core.algorithm import Algorithm
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.survival import Survival

from tokendrop.reducers.length_adaptive import FEWEST, shrinking_lengths
from tokendrop.reducers.length_adaptive.search.front import Configuration

Genomes = NDArray[np.int64]
Ties = Literal["fixed", "reference"]

ATTEMPTS = 50  # for each wanted child; the reference can try forever


def mean_length(ratio: float, layers: int, longest: int) -> float:
    """a(x): mean relative length if each layer drops the ratio x, even to less than 2 tokens.

    >>> mean_length(0.1, layers=12, longest=384)
    0.5436197916666666
    """
    total, length = 0, longest
    for _ in range(layers):
        length = math.ceil((1 - ratio) * length)
        total += length
    return total / (layers * longest)


def ratio_for(share: float, layers: int, longest: int) -> float:
    """The largest ratio, found by bisection, whose mean relative length is at least the share."""
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if mean_length(middle, layers, longest) >= share:
            low = middle
        else:
            high = middle
    return low


def constant_ratio(ratio: float, layers: int, longest: int) -> Configuration:
    """The configuration that drops this ratio in each layer."""
    return tuple(shrinking_lengths(longest, ratio, [0.0] * layers))


def first_population(count: int, ratio: float, layers: int, longest: int) -> list[Configuration]:
    """The bounds, and between them constant ratios evenly spaced in mean relative length.

    Args:
        count: constant ratios between the bounds.
        ratio: of the smallest configuration, the one used in training.
        layers: N.
        longest: L. The reference spaces them for 12 layers and 384 tokens whatever the model is.
    """
    shares = np.linspace(mean_length(ratio, layers, longest), 1, count + 2)[1:-1]
    between = [
        constant_ratio(ratio_for(float(share), layers, longest), layers, longest)
        for share in shares
    ]
    bounds = [constant_ratio(ratio, layers, longest), (longest,) * layers]
    return list(dict.fromkeys([*bounds, *between]))


def pareto(objectives: Sequence[Sequence[float]], ties: Ties = "fixed") -> list[int]:
    """Indices of the front among (cost, -score) pairs, by growing cost.

    The cheapest and the dearest always belong to it, as in the reference.

    Args:
        objectives: both are minimised.
        ties: "fixed": of equally dear ones only the best; "reference" keeps the worse as well.
    """
    order = sorted(range(len(objectives)), key=lambda i: (objectives[i][0], -objectives[i][1]))
    front = order[:1]
    for i in order[1:]:
        cost, loss = objectives[i]
        last = objectives[front[-1]]
        same_cost = ties == "fixed" and cost == last[0]
        if loss < last[1] or (i == order[-1] and not same_cost):
            if same_cost:
                front.pop()
            front.append(i)
    return front


def area(objectives: Sequence[Sequence[float]], lower: float, upper: float) -> float:
    """Mean score over the costs between the bounds, each that of the best cheaper genome.

    This left Riemann sum is the hypervolume with respect to the dearest cost and score 0.
    """
    if lower == upper:
        return -min(loss for _, loss in objectives)
    return float(hypervolume(np.array(objectives, dtype=float), ref=[upper, 0.0])) / (upper - lower)


class LengthMutation(Mutation):  # type: ignore[misc]
    """Draw each length anew with some probability, between its neighbours.

    From left to right: g'_i is uniform between g_{i+1}, the parent's next, and g'_{i-1}.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob=1.0)
        self.each = prob

    def _do(
        self, problem: Any, X: Genomes, *args: Any, random_state: Any = None, **kwargs: Any
    ) -> Genomes:
        children = X.copy()
        for child, parent in zip(children, X, strict=True):
            for i in np.flatnonzero(random_state.random(len(child)) < self.each):
                highest = child[i - 1] if i else problem.longest
                lowest = parent[i + 1] if i + 1 < len(parent) else FEWEST
                child[i] = random_state.integers(lowest, highest, endpoint=True)
        return children


class LengthCrossover(Crossover):  # type: ignore[misc]
    """The mean of two parents, rounded up: (a + b + 1) // 2 in each layer."""

    def __init__(self) -> None:
        super().__init__(n_parents=2, n_offsprings=1, prob=1.0)

    def _do(self, problem: Any, X: Genomes, *args: Any, **kwargs: Any) -> Genomes:
        return ((X[0] + X[1] + 1) // 2)[None]


class ParetoSurvival(Survival):  # type: ignore[misc]
    """The front goes on, and nothing else."""

    def __init__(self, ties: Ties) -> None:
        super().__init__(filter_infeasible=False)
        self.ties = ties

    def _do(self, problem: Any, pop: Any, *args: Any, **kwargs: Any) -> Any:
        return pop[pareto(pop.get("F").tolist(), self.ties)]


class LengthProblem(Problem):  # type: ignore[misc]
    """Minimise cost and the negative score."""

    def __init__(
        self,
        layers: int,
        longest: int,
        cost: Callable[[Configuration], float],
        scores: Callable[[list[Configuration]], list[float]],
    ) -> None:
        super().__init__(n_var=layers, n_obj=2, xl=FEWEST, xu=longest, vtype=int)
        self.longest = longest
        self.cost = cost
        self.scores = scores

    def _evaluate(self, X: Genomes, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        genomes = as_configurations(X)
        # an array: pymoo takes a list for a list of columns
        scores = np.array(self.scores(genomes))
        out["F"] = np.stack([[self.cost(genome) for genome in genomes], -scores], axis=1)


class LengthSearch(Algorithm):  # type: ignore[misc]
    """Pareto front, mutations, crossovers, and again."""

    def __init__(
        self,
        first: Sequence[Configuration],
        cheapest: float,
        mutations: int,
        crossovers: int,
        ties: Ties,
        **kwargs: Any,
    ) -> None:
        """
        Args:
            first: initial population.
            cheapest: a child that costs less is rejected before it is evaluated.
            mutations: accepted children of each generation.
            crossovers: the same.
            ties: see :func:`pareto`.
            **kwargs: of pymoo's algorithms: termination, seed.
        """
        super().__init__(**kwargs)
        self.first = first
        self.cheapest = cheapest
        self.wanted = (mutations, crossovers)
        self.mutation = LengthMutation()
        self.crossover = LengthCrossover()
        self.survival = ParetoSurvival(ties)

    def _initialize_infill(self) -> Any:
        return Population.new("X", np.array(self.first))

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.pop = self.survival.do(self.problem, infills, random_state=self.random_state)

    def _infill(self) -> Any:
        mutations, crossovers = self.wanted
        # children of a generation may become parents in it, as in the reference
        family = as_configurations(self.pop.get("X"))
        before = len(family)
        self._breed(family, mutations, self._mutate)
        self._breed(family, crossovers, self._cross)
        if len(family) == before:
            self.termination.force_termination = True
            return None
        return Population.new("X", np.array(family[before:]))

    def _breed(
        self,
        family: list[Configuration],
        wanted: int,
        make: Callable[[list[Configuration]], Configuration],
    ) -> None:
        target = len(family) + wanted
        for _ in range(ATTEMPTS * wanted):
            if len(family) == target:
                break
            child = make(family)
            if child not in family and self.problem.cost(child) >= self.cheapest:
                family.append(child)

    def _mutate(self, family: list[Configuration]) -> Configuration:
        return self._operate(self.mutation, [self._parent(family)])

    def _cross(self, family: list[Configuration]) -> Configuration:
        if len(family) == 1:
            return family[0]
        one, other = self.random_state.choice(len(family), 2, replace=False)
        return self._operate(self.crossover, [family[one], family[other]], [[0, 1]])

    def _parent(self, family: list[Configuration]) -> Configuration:
        return family[self.random_state.integers(len(family))]

    def _operate(
        self, operator: Any, parents: list[Configuration], *mating: list[list[int]]
    ) -> Configuration:
        population = Population.new("X", np.array(parents))
        children = operator.do(self.problem, population, *mating, random_state=self.random_state)
        return as_configurations(children.get("X"))[0]

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        merged = Population.merge(self.pop, infills)
        self.pop = self.survival.do(self.problem, merged, random_state=self.random_state)

    def _set_optimum(self) -> None:
        self.opt = self.pop


def evolve(problem: LengthProblem, algorithm: LengthSearch) -> Iterator[list[Configuration]]:
    """Run, giving the front after the initial population and after each generation."""
    algorithm.setup(problem)
    while algorithm.has_next():
        algorithm.next()
        yield as_configurations(algorithm.pop.get("X"))


def as_configurations(X: Genomes) -> list[Configuration]:
    """Rows of integers as tuples.

    Raises:
        ValueError: one grows, which no operator should ever produce.
    """
    genomes = [tuple(int(length) for length in row) for row in X]
    for genome in genomes:
        if any(after > before for before, after in pairwise(genome)):
            raise ValueError(f"length configuration {genome} grows")
    return genomes
