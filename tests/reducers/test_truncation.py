"""Truncation, the comparator that reads only the beginning."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from baselines import Truncation
from tokendrop.errors import UserError
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import LAYERS, MAX_TOKENS, Row, built, run, tiny_model, tiny_rows


def KEEPS_ALL() -> Reducer:
    return Truncation(tokens=MAX_TOKENS)


DROPS: dict[str, Callable[[], Reducer]] = {
    "eight": lambda: Truncation(tokens=8),
    "cls": lambda: Truncation(tokens=1),
}
SOFT_EQUALS_HARD = "nothing is softened"


def test_it_is_the_dense_model_of_the_cut_rows() -> None:
    model, rows = tiny_model("bert"), tiny_rows([3, 20, 9])
    cut = [Row(row.ids[:8], row.types[:8], row.label) for row in rows]
    encoded = run(model, built(Truncation(tokens=8)), rows)
    torch.testing.assert_close(encoded.logits, run(model, Dense(), cut).logits, atol=1e-5, rtol=0)
    assert encoded.trace.processed_tokens().tolist() == [3 * LAYERS, 8 * LAYERS, 8 * LAYERS]


def test_it_cannot_keep_nothing() -> None:
    with pytest.raises(UserError, match="tokens 0 is too small"):
        built(Truncation(tokens=0))
