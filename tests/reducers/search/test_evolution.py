"""The operators of the search and its front, against the authors' numbers."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokendrop.reducers.length_adaptive.search.evolution import (
    LengthCrossover,
    LengthMutation,
    area,
    constant_ratio,
    first_population,
    mean_length,
    pareto,
    ratio_for,
)

LENGTH = 24
genomes = st.lists(st.integers(2, LENGTH), min_size=6, max_size=6).map(
    lambda lengths: sorted(lengths, reverse=True)
)


def never_grows(genome: np.ndarray) -> bool:
    return all(a >= b for a, b in pairwise([LENGTH, *genome, 2]))


@given(parent=genomes, seed=st.integers(0, 2**32 - 1), prob=st.sampled_from([0.2, 0.5, 1.0]))
def test_mutation_never_grows(parent: list[int], seed: int, prob: float) -> None:
    mutate = LengthMutation(prob)._do
    parents = np.array([parent] * 3)
    for child in mutate(
        SimpleNamespace(longest=LENGTH), parents, random_state=np.random.default_rng(seed)
    ):
        assert never_grows(child)
    assert parents.tolist() == [parent] * 3


@given(parent=genomes)
def test_mutation_with_probability_0_gives_the_parent(parent: list[int]) -> None:
    problem, rng = SimpleNamespace(longest=LENGTH), np.random.default_rng(0)
    child = LengthMutation(0.0)._do(problem, np.array([parent]), random_state=rng)
    assert child.tolist() == [parent]


@given(one=genomes, other=genomes)
def test_crossover_is_a_mean_that_never_grows(one: list[int], other: list[int]) -> None:
    def cross(a: list[int], b: list[int]) -> list[int]:
        return LengthCrossover()._do(None, np.array([[a], [b]]))[0][0].tolist()

    child = cross(one, other)
    assert never_grows(np.array(child))
    assert child == cross(other, one)
    assert cross(one, one) == one
    assert all(min(a, b) <= c <= max(a, b) for a, b, c in zip(one, other, child, strict=True))


def test_the_initial_population_is_the_authors() -> None:
    for ratio, mean in ((0.05, 0.734375), (0.1, 0.54361979), (0.2, 0.31597222), (0.5, 0.083984375)):
        assert mean_length(ratio, 12, 384) == pytest.approx(mean)
    assert ratio_for(0.5, 12, 384) == pytest.approx(0.114503817, abs=1e-9)
    assert ratio_for(0.75, 12, 384) == pytest.approx(0.046875, abs=1e-9)
    population = first_population(20, 0.2, 12, 384)
    assert len(population) == 22
    assert population[0] == constant_ratio(0.2, 12, 384)
    assert population[1] == (384,) * 12
    assert population[2] == (315, 259, 213, 175, 144, 119, 98, 81, 67, 55, 46, 38)
    lowest = mean_length(0.2, 12, 384)
    shares = [lowest + (1 - lowest) * k / 21 for k in (1, 20)]
    ratios = [ratio_for(share, 12, 384) for share in shares]
    assert ratios == pytest.approx([0.180556, 0.005464], abs=1e-6)


def test_the_initial_population_of_short_rows_is_not_the_full_model_twenty_times() -> None:
    population = first_population(20, 0.2, 6, 128)
    assert population.count((128,) * 6) == 1
    assert len(set(population)) == len(population) > 18


# -- the front ----------------------------------------------------------------------------------

FACTS = {"A": (10, 50), "B": (20, 60), "C": (20, 65), "D": (30, 64), "E": (40, 80), "F": (50, 70)}


@pytest.mark.parametrize(("ties", "expected"), [("reference", "ABCEF"), ("fixed", "ACEF")])
def test_the_front_of_the_authors_example(ties: str, expected: str) -> None:
    for names in (list(FACTS), list(reversed(FACTS))):
        objectives = [(float(FACTS[n][0]), -float(FACTS[n][1])) for n in names]
        front = pareto(objectives, ties)  # type: ignore[arg-type]
        assert "".join(names[i] for i in front) == expected
        assert area([objectives[i] for i in front], 10, 50) == pytest.approx(65)


def test_of_equals_one_stays_and_both_ends_always_do() -> None:
    assert len(pareto([(1.0, -0.5)] * 3)) == 1
    assert pareto([(1.0, -0.2), (1.0, -0.4), (3.0, -0.1), (3.0, -0.3), (2.0, -0.4)]) == [1, 3]
