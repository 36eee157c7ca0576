"""What the clock is not sure of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokendrop.measure.clock import AGAIN, METHOD, PACKED_DENSE, PADDED, ratios

SECONDS = st.floats(1e-3, 1e3)


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=9))
def test_a_method_like_dense_is_within_the_noise_whichever_was_disturbed(
    rounds: list[tuple[float, float]],
) -> None:
    first, again = zip(*rounds, strict=True)
    for dense, other in ((first, again), (again, first)):
        found = ratios({PACKED_DENSE: dense, AGAIN: other, PADDED: dense, METHOD: other})
        assert found["speedup_unpadded"] <= 1 + found["noise"] + 1e-9
    assert ratios({PACKED_DENSE: first, AGAIN: first, PADDED: first, METHOD: first})[
        "noise"
    ] == pytest.approx(0)
