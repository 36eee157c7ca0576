"""First-k, the comparator that keeps beginnings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from baselines import FirstK
from tokendrop.errors import UserError
from tokendrop.reducers.base import Reducer
from tokendrop.testing.tiny import LAYERS, built, run, tiny_model, tiny_rows


def KEEPS_ALL() -> Reducer:
    return FirstK(ratio=1.0)


DROPS: dict[str, Callable[[], Reducer]] = {
    "half": lambda: FirstK(ratio=0.5),
    "counts": lambda: FirstK(configuration=[12, 8, 3]),
    "cls_only": lambda: FirstK(configuration=[1, 1, 1]),
}
SOFT_EQUALS_HARD = "nothing is softened"


@pytest.mark.parametrize(
    ("reducer", "lengths"),
    [
        # a share of what is left, rounded up
        (FirstK(ratio=0.3), [[30, 1], [9, 1], [3, 1]]),
        # 0.1 * 30 is more than 3 in floating point
        (FirstK(ratio=0.1), [[30, 1], [3, 1], [1, 1]]),
        (FirstK(configuration=[12, 8, 8]), [[30, 1], [12, 1], [8, 1]]),
    ],
)
def test_each_layer_is_reached_by_the_beginning(reducer: FirstK, lengths: list[list[int]]) -> None:
    trace = run(tiny_model("bert"), built(reducer), tiny_rows([30, 1])).trace
    for layer, (long, short) in zip(trace.layers, lengths, strict=True):
        entered = layer.entered.tokens.tolist()
        assert sorted(entered) == [*range(long), *range(30, 30 + short)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"ratio": 0.0}, "ratio 0.0 is out of range"),
        ({"ratio": 1.5}, "ratio 1.5 is out of range"),
        ({"configuration": [4] * (LAYERS + 1)}, f"has {LAYERS + 1} entries"),
        ({"configuration": [4, 5, 5]}, "grows from 4 to 5"),
        ({"configuration": [4, 4, 4], "ratio": 0.5}, "ratio 0.5 says another number of tokens"),
    ],
)
def test_a_schedule_must_fit(arguments: dict, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        built(FirstK(**arguments))
