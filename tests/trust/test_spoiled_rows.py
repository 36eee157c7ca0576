"""A row whose states are no numbers spoils no other row of its batch, whatever the method."""

from __future__ import annotations

import pytest
import torch

from tests.contract.test_contract import EVERY, each
from tokendrop.engine.encoder import encode
from tokendrop.families import family_of
from tokendrop.testing.checks import Make
from tokendrop.testing.tiny import built, packed, tiny_model, tiny_rows

LENGTHS = (2, 3, 2, 19, 12, 5, 2, 7)  # the short ones are padded to one block


@each(EVERY)
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_other_rows_are_answered_alike(make: Make, family: str) -> None:
    model, batch = tiny_model(family), packed(tiny_rows(LENGTHS))
    reducer = built(make())
    with torch.inference_mode():
        states = family_of(model).embed(model, batch)
        clean = encode(model, batch, reducer, states).logits
        for spoiled in (0, 3):
            odd = states.clone()
            token = batch.layout.first[spoiled] + batch.layout.lengths[spoiled] - 1
            odd[token] = torch.nan
            found = encode(model, batch, reducer, odd).logits
            others = [row for row in range(len(LENGTHS)) if row != spoiled]
            torch.testing.assert_close(found[others], clean[others], atol=1e-5, rtol=0)
