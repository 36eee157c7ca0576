"""Fewer layers, the comparator of all early exits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from baselines import FewerLayers
from tokendrop.errors import UserError
from tokendrop.reducers.base import Reducer
from tokendrop.testing.tiny import (
    FAMILY_NAMES,
    LAYERS,
    built,
    padded_forward,
    run,
    tiny_model,
    tiny_rows,
)


def KEEPS_ALL() -> Reducer:
    return FewerLayers(layers=LAYERS)


DROPS: dict[str, Callable[[], Reducer]] = {
    "one": lambda: FewerLayers(layers=1),
    "two": lambda: FewerLayers(layers=2),
}
SOFT_EQUALS_HARD = "nothing is softened"


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_it_is_the_shallower_model_of_hugging_face(family: str) -> None:
    whole, rows = tiny_model(family), tiny_rows([3, 20, 9])
    config = type(whole.config).from_dict(whole.config.to_dict())
    config.num_hidden_layers = 2
    if family == "albert":
        config.num_hidden_groups = 1  # its first two layers share their weights
    shallow = AutoModelForSequenceClassification.from_config(config)
    shallow.load_state_dict(whole.state_dict(), strict=False)
    expected, _ = padded_forward(shallow.eval(), rows)
    encoded = run(whole, built(FewerLayers(layers=2)), rows)
    torch.testing.assert_close(encoded.logits, expected, atol=1e-5, rtol=0)
    assert encoded.trace.row_depth().tolist() == [2, 2, 2]
    assert encoded.trace.head_states == 3


@pytest.mark.parametrize("layers", [0, LAYERS + 1])
def test_it_runs_as_many_layers_as_there_are(layers: int) -> None:
    with pytest.raises(UserError, match=f"layers {layers} is (out of range|too small)"):
        built(FewerLayers(layers=layers))
