"""How the values of a trial are drawn."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokendrop.compare.tuning.sampling import between, distribution, evenly
from tokendrop.compare.tuning.settings import Range

RANGES = {
    "learning_rate": Range(low=1e-5, high=1e-1, log=True),
    "ratio": Range(low=0.2, high=0.6),
    "layers": Range(low=1, high=4),
    "pooling": Range(choices=["cls", "mean"]),
    "tau": Range(low=0.01, high=1.0, log=True),
}
SPACE = {name: distribution(among) for name, among in RANGES.items()}
FIRST = {"learning_rate": 1e-3, "ratio": 0.2, "layers": 2, "pooling": "mean", "tau": 0.01}


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_few_draws_cover_each_range(seed: int) -> None:
    """One in each quarter of it, and each of two choices within two draws."""
    drawn = [evenly(SPACE, FIRST, seed, number) for number in range(1, 5)]
    assert all(draw.keys() == RANGES.keys() for draw in drawn)
    for name in ("learning_rate", "ratio", "tau"):
        low, high = RANGES[name].low, RANGES[name].high
        assert low is not None
        assert high is not None
        of = math.log if RANGES[name].log else float
        shares = [(of(draw[name]) - of(low)) / (of(high) - of(low)) for draw in drawn]
        assert sorted(int(4 * share) for share in shares) == [0, 1, 2, 3]
    assert sorted(draw["layers"] for draw in drawn) == [1, 2, 3, 4]
    assert {draw["pooling"] for draw in drawn[:2]} == {"cls", "mean"}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_draw_depends_on_its_number_and_the_seed_alone(seed: int) -> None:
    other = FIRST | {"ratio": 0.4, "pooling": "cls"}
    assert evenly(SPACE, FIRST, seed, 3) == evenly(SPACE, other, seed, 3)
    assert evenly(SPACE, FIRST, seed, 3) != evenly(SPACE, FIRST, seed + 1, 3)


def values(draw: st.DrawFn) -> dict[str, object]:
    """Any values of the space."""
    return {
        name: draw(st.sampled_from(among.choices))
        if among.choices is not None
        else draw(
            st.integers(among.low, among.high)
            if among.is_whole
            else st.floats(among.low, among.high)
        )
        for name, among in RANGES.items()
    }


@given(one=st.composite(values)(), other=st.composite(values)())
def test_half_way_between_two_trials_lies_within_each_range(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    middle = between(SPACE, one, other, "0")
    assert middle == between(SPACE, one, other, "0")
    for name, among in RANGES.items():
        assert middle[name] in among
        if among.choices is not None:
            assert middle[name] in (one[name], other[name])
        elif not among.is_whole:
            of = math.log if among.log else float
            assert of(middle[name]) == pytest.approx((of(one[name]) + of(other[name])) / 2)
        else:
            assert abs(middle[name] - (one[name] + other[name]) / 2) <= 0.5


def test_neither_of_two_trials_has_all_its_choices_taken() -> None:
    one, other = FIRST | {"pooling": "cls"}, FIRST | {"pooling": "mean"}
    taken = {between(SPACE, one, other, f"0 1 {number}")["pooling"] for number in range(20)}
    assert taken == {"cls", "mean"}
