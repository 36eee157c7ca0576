"""Weights cast by one call give what autocast's own give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.engine import casting
from tokendrop.engine.encoder import encode
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import FAMILY_NAMES, packed, tiny_model, tiny_rows

ROWS = tiny_rows((1, 19, 12, 7))


def passed(model: PreTrainedModel) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    device = model.device
    with torch.autocast(device.type, torch.bfloat16):
        logits = encode(model, packed(ROWS).to(device), Dense()).logits
    logits.square().sum().backward()
    found = {k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), found


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_answers_and_gradients_are_those_of_autocast(
    family: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(family).to(device)
    monkeypatch.setattr(casting, "DEVICES", set())
    logits, gradients = passed(model)
    monkeypatch.setattr(casting, "DEVICES", {device})
    mine, found = passed(model)
    torch.testing.assert_close(mine, logits, atol=0.05, rtol=0.05)
    assert found.keys() == gradients.keys()
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        one, other = found[name].flatten(), gradient.flatten()
        assert found[name].dtype == torch.float32
        same = torch.cosine_similarity(one, other, dim=0)
        # rounding is all that there is of a bias in front of a softmax
        small = float(gradient.abs().max()) < 0.01 * largest
        assert small or same > 0.98, name


def test_frozen_weights_get_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("bert")
    for parameter in model.base_model.parameters():  # type: ignore[operator]
        parameter.requires_grad_(False)
    model.base_model.encoder.layer[1].output.dense.weight.requires_grad_()  # type: ignore[operator, union-attr]
    monkeypatch.setattr(casting, "DEVICES", {"cpu"})
    _, found = passed(model)
    assert "bert.encoder.layer.1.output.dense.weight" in found
    assert "bert.encoder.layer.0.output.dense.weight" not in found
