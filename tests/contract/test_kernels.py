"""The encoder through the kernels for GPUs: what every method computes does not depend on them."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tests.contract.test_contract import FILES
from tokendrop.engine import ragged
from tokendrop.engine.encoder import encode
from tokendrop.engine.trace import Encoded
from tokendrop.reducers.dense import Dense
from tokendrop.testing import checks
from tokendrop.testing.checks import Make
from tokendrop.testing.tiny import FAMILY_NAMES, built, packed, tiny_model, tiny_rows

pytest.importorskip("triton", reason="Triton has packages for Linux only")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # by Triton's interpreter
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []

ROWS = tiny_rows((1, 19, 12))
# one way of dropping of each method
DROPS = {name: next(iter(file.DROPS.values())) for name, file in FILES.items() if file.DROPS}
# windows and rotary positions, with methods that drop before, inside and after the attention
WINDOWED = ["AdapLeR", "PowerBert", "TokenMerging"]


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ragged, "DEVICES", {DEVICE})


def passed(make: Make, model: PreTrainedModel) -> tuple[Encoded, list[Tensor]]:
    """A pass and the gradients of the weights that took part in it."""
    model.zero_grad()
    encoded = encode(model, packed(ROWS).to(DEVICE), built(make()).to(DEVICE))
    encoded.logits.square().sum().backward()
    return encoded, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_with_nothing_dropped_logits_are_those_of_hugging_face(family: str, kernels: None) -> None:
    checks.logits(Dense, tiny_model(family).to(DEVICE))


@pytest.mark.parametrize(
    ("family", "name"),
    [*product(["bert"], DROPS), *product(["modernbert"], WINDOWED), ("mpnet", "PowerBert")],
)
def test_a_method_decides_and_learns_the_same(
    family: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # two heads of four: the interpreter takes its time for each
    model = tiny_model(family, num_attention_heads=2).to(DEVICE)
    monkeypatch.setattr(ragged, "DEVICES", set())
    plain, expected = passed(DROPS[name], model)
    monkeypatch.setattr(ragged, "DEVICES", {DEVICE})
    ours, found = passed(DROPS[name], model)
    torch.testing.assert_close(ours.logits, plain.logits, atol=1e-5, rtol=1e-5)
    for one, other in zip(ours.trace.layers, plain.trace.layers, strict=True):
        assert torch.equal(one.feed_forward.tokens, other.feed_forward.tokens)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)
