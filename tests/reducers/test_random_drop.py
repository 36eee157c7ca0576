"""Random drop, the floor of all token scores."""

from __future__ import annotations

from collections.abc import Callable

import torch

from baselines import RandomDrop
from tokendrop.reducers.base import Reducer
from tokendrop.testing.tiny import MAX_TOKENS, built, run, tiny_model, tiny_rows


def KEEPS_ALL() -> Reducer:
    return RandomDrop(ratio=1.0)


DROPS: dict[str, Callable[[], Reducer]] = {
    "half": lambda: RandomDrop(ratio=0.5, draw=3),
    "counts": lambda: RandomDrop(configuration=[12, 8, 3]),
}
SOFT_EQUALS_HARD = "nothing is softened"


def kept(reducer: RandomDrop, rows: int = 4) -> list[list[int]]:
    """The positions of each of some equally long rows that leave the first layer."""
    batch = tiny_rows([MAX_TOKENS] * rows)
    left = run(tiny_model("bert"), built(reducer), batch).trace.layers[0].feed_forward
    return [(tokens % MAX_TOKENS).tolist() for tokens in left.tokens.split(left.lengths)]


def test_all_rows_keep_the_same_positions_and_cls() -> None:
    first, *others = kept(RandomDrop(configuration=[8, 8, 8]))
    assert len(first) == 8
    assert first[0] == 0
    assert all(positions == first for positions in others)


def test_the_draw_decides_which() -> None:
    choices = [kept(RandomDrop(configuration=[8, 8, 8], draw=draw), 1)[0] for draw in range(200)]
    assert kept(RandomDrop(configuration=[8, 8, 8], draw=5), 1)[0] == choices[5]
    share = torch.bincount(torch.tensor(choices).flatten(), minlength=MAX_TOKENS) / 200
    # every position but [CLS] is chosen in 7 of 31 draws, within four standard errors
    assert (share[1:] - 7 / 31).abs().max() < 0.12
