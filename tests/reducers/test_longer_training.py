"""Longer training, the comparator of what further epochs alone are worth."""

from __future__ import annotations

from baselines import LongerTraining
from tokendrop.reducers.base import Reducer
from tokendrop.testing.tiny import built

KEEPS_ALL = LongerTraining
DROPS: dict[str, type[Reducer]] = {}
SOFT_EQUALS_HARD = "nothing is removed"


def test_it_is_a_dense_model_that_trains_on_or_anew() -> None:
    reducer = built(LongerTraining(epochs=2, start="pretrained"))
    assert reducer.reference
    assert not list(reducer.parameters())
    (stage,) = reducer.stages()
    assert (stage.epochs, stage.start) == (2, "pretrained")
    assert LongerTraining().stages()[0].start == "previous"
