from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compare.synthetic import record
from tokendrop.compare.results.fronts import (
    front_hypervolume,
    fronts,
    fronts_frame,
    interpolated,
    pareto_front,
)
from tokendrop.compare.results.records import Record


def runs() -> list[Record]:
    return [
        record(value=0.90),
        record("m", "a", value=0.88, flops=1.25),  # 80 % of the FLOPs
        record("m", "b", value=0.80, flops=2.5),  # 40 %
        record("m", "beaten", value=0.70, flops=2.0),
    ]


def test_at_the_same_budget_by_hand() -> None:
    (front,) = fronts(runs())
    assert (front.method, front.points) == ("m", 3)
    assert front.shares == pytest.approx((0.4, 0.8))
    assert front.values == (0.80, 0.88)
    assert front.at_share[0.75] == pytest.approx(0.87)
    assert front.at_share[0.5] == pytest.approx(0.82)
    assert front.at_share[0.25] is None
    assert front.at_loss[0.01] is None
    assert front.at_loss[0.02] == pytest.approx(0.8)
    # 0.80 from 40 % on, 0.08 more from 80 % on
    assert front.hypervolume == pytest.approx(0.80 * 0.6 + 0.08 * 0.2)


def test_the_table_leaves_out_what_was_not_measured() -> None:
    (row,) = fronts_frame(runs()).to_dict("records")
    assert row["At 50 % FLOPs"] == "82.00 %"
    assert "At 25 % FLOPs" not in row
    assert row["FLOPs at -2 points"] == "80 %"
    assert row["Hypervolume"] == "0.4960"


def test_what_costs_more_than_dense_or_scores_below_0_adds_no_front_hypervolume() -> None:
    assert front_hypervolume([1.2], [0.9]) == 0
    assert front_hypervolume([0.5], [-0.1]) == 0
    assert front_hypervolume([0.5, 1.2], [0.8, 0.9]) == pytest.approx(0.4)


def test_without_dense_there_is_no_loss() -> None:
    (front,) = fronts(runs()[1:])
    assert set(front.at_loss.values()) == {None}
    assert fronts_frame([record()]).empty


@given(
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=8),
    st.floats(0, 1.2),
)
def test_interpolation_stays_between_its_neighbours(
    pairs: list[tuple[int, int]], at: float
) -> None:
    found = [
        record(),
        *(record("m", str(i), value=v / 20, flops=20 / f) for i, (f, v) in enumerate(pairs)),
    ]
    (front,) = fronts(found)
    assert all(a < b for a, b in zip(front.shares, front.shares[1:], strict=False))
    assert all(a < b for a, b in zip(front.values, front.values[1:], strict=False))
    value = interpolated(at, front.shares, front.values)
    if not front.shares[0] <= at <= front.shares[-1]:
        assert value is None
        return
    assert value is not None
    lower = max(v for s, v in zip(front.shares, front.values, strict=True) if s <= at)
    upper = min(v for s, v in zip(front.shares, front.values, strict=True) if s >= at)
    assert lower - 1e-12 <= value <= upper + 1e-12
    # a better point never makes the area smaller
    assert (
        front_hypervolume([*front.shares, 0.3], [*front.values, 0.5]) >= front.hypervolume - 1e-12
    )


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_pareto_front(pairs: list[tuple[int, int]]) -> None:
    front = pareto_front([float(x) for x, _ in pairs], [float(y) for _, y in pairs])
    for i, (x, y) in enumerate(pairs):
        beaten = any((a > x and b >= y) or (a >= x and b > y) for a, b in pairs)
        assert (i in front) != beaten
    along = [pairs[i] for i in front]
    assert [x for x, _ in along] == sorted(x for x, _ in along)
    assert [y for _, y in along] == sorted((y for _, y in along), reverse=True)


def test_equal_points_are_both_on_the_front() -> None:
    assert pareto_front([1.0, 2.0, 2.0, 2.0], [0.9, 0.8, 0.8, 0.7]) == [0, 1, 2]
