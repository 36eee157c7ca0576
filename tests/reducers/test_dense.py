"""The dense model keeps everything; the contract says the rest."""

from __future__ import annotations

import torch

from tokendrop.reducers.base import Reducer
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import LAYERS, built, run, tiny_model, tiny_rows

KEEPS_ALL = Dense
DROPS: dict[str, type[Reducer]] = {}
SOFT_EQUALS_HARD = "nothing is removed"


def test_it_adds_nothing_to_the_model() -> None:
    reducer = built(Dense())
    assert not list(reducer.parameters())
    assert reducer.stages() == []
    trace = run(tiny_model("bert"), reducer, tiny_rows([4, 1])).trace
    assert trace.head_states == 2
    assert [layer.feed_forward.lengths for layer in trace.layers] == [(4, 1)] * LAYERS
    assert torch.equal(trace.token_depth(), torch.full((5,), LAYERS))
