"""Resamples of seeds and examples, against loops that draw them one by one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.test_resampling import classes
from tokendrop.compare.results.bootstrap import (
    estimate,
    example_weights,
    holm,
    on_resamples,
    seed_weights,
)
from tokendrop.tasks import KINDS

RESAMPLES = 60


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 8), st.data())
def test_an_estimate_is_that_of_a_loop(seeds: int, examples: int, data: st.DataObject) -> None:
    """A difference of F1, which is no mean of examples, over seeds of two methods."""
    one = st.lists(st.integers(0, 1), min_size=examples, max_size=examples)
    right = data.draw(one)
    answers = [[data.draw(one) for _ in range(seeds)] for _ in ("mine", "theirs")]
    frames = [classes(right, answered, 2) for side in answers for answered in side]
    metrics = [KINDS["classification"].of_resamples("f1", frame) for frame in frames]
    values, drawn = on_resamples(metrics, examples, RESAMPLES)
    found = estimate(values[:seeds] - values[seeds:], drawn[:seeds] - drawn[seeds:])

    def f1(rows: list[int], answered: list[int]) -> Fraction:
        hits = sum(right[row] and answered[row] for row in rows)
        size = sum(right[row] + answered[row] for row in rows)
        return Fraction(2 * hits, size) if size else Fraction(0)

    gaps = []
    weights = np.concatenate(list(example_weights(examples, RESAMPLES)))
    for of_examples, of_seeds in zip(weights, seed_weights(seeds, RESAMPLES), strict=True):
        rows = [row for row in range(examples) for _ in range(int(of_examples[row]))]
        assert len(rows) == examples
        chosen = [seed for seed in range(seeds) for _ in range(round(of_seeds[seed] * seeds))]
        assert len(chosen) == seeds
        mine, theirs = (sum(f1(rows, side[seed]) for seed in chosen) / seeds for side in answers)
        gaps.append(mine - theirs)
    tail = min(sum(gap <= 0 for gap in gaps), sum(gap >= 0 for gap in gaps))
    assert found.p_value == pytest.approx(min(1, 2 * (tail + 1) / (RESAMPLES + 1)))
    low, high = np.percentile([float(gap) for gap in gaps], [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx((low, high))
    rows = list(range(examples))
    mine, theirs = (sum(f1(rows, answered) for answered in side) / seeds for side in answers)
    assert found.value == pytest.approx(float(mine - theirs))


def test_examples_and_seeds_are_drawn_alike() -> None:
    weights = np.concatenate(list(example_weights(5, 4000)))
    assert weights.mean(0) == pytest.approx([1] * 5, abs=0.06)
    assert weights.var(0) == pytest.approx([0.8] * 5, abs=0.08)
    assert seed_weights(3, 4000).mean(0) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_holm_by_hand() -> None:
    # 4 x 0.01; then 3 x 0.015, 2 x 0.03 and 0.2, none below the one before it
    assert holm([0.03, 0.01, 0.2, 0.015]) == pytest.approx([0.06, 0.04, 0.2, 0.045])
    assert holm([0.01, 0.011]) == pytest.approx([0.02, 0.02])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    found = holm(p_values)
    for raw, corrected in zip(p_values, found, strict=True):
        assert raw <= corrected <= min(1, len(p_values) * raw) or corrected == max(
            found[i] for i, p in enumerate(p_values) if p <= raw
        )
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [found[i] for i in order] == sorted(found)
