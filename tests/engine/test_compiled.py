"""Layers that are compiled for training compute what the operators do, with few graphs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from transformers import PreTrainedModel

from tests.models.test_model import REDUCERS, TEXTS, model_of
from tokendrop.engine import compiled
from tokendrop.engine.compiled import compiled_parts
from tokendrop.engine.encoder import encode
from tokendrop.errors import UserError
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import packed, tiny_model, tiny_rows


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # the same graphs without the minute in which C++ is compiled
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    compiled._compiled.cache_clear()
    torch._dynamo.reset()
    counters.clear()
    yield
    compiled._compiled.cache_clear()
    torch._dynamo.reset()


def gradients(model: PreTrainedModel, wanted: bool, lengths: Any) -> list[Tensor]:
    """Of two losses, which go backward through one pass one after the other."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    with compiled_parts(wanted):
        logits = encode(model, packed(tiny_rows(lengths)), Dense()).logits
    one, other = logits.square().sum(), logits.exp().sum()
    found = [*torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True)]
    found += torch.autograd.grad(other, parameters, allow_unused=True)
    return [logits.detach(), *(x for x in found if x is not None)]


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_compiled_layers_give_the_same(family: str) -> None:
    model = tiny_model(family)
    plain = gradients(model, False, (1, 19, 12, 7))
    for one, other in zip(gradients(model, True, (1, 19, 12, 7)), plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert counters["stats"]["unique_graphs"] > 0


def test_few_graphs_serve_all_layers_and_lengths() -> None:
    model = tiny_model("bert").train()
    gradients(model, True, (5, 4, 3))
    first = counters["stats"]["unique_graphs"]
    assert 0 < first <= 5
    for lengths in ((9, 8), (13, 2, 7, 7), (17, 1)):
        gradients(model, True, lengths)
    assert counters["stats"]["unique_graphs"] == first
    assert not counters["graph_break"]


def test_torch_compile_of_a_model_compiles_its_layers() -> None:
    model = model_of(REDUCERS["chain"]())
    batches = [packed(tiny_rows(lengths)) for lengths in ((5, 9, 3), (4, 4), (9, 1, 2))]
    with torch.inference_mode():
        plain = [model(batch).logits for batch in batches]
        assert not counters["stats"]["unique_graphs"]
        outside = torch.compile(model)
        for batch, logits in zip(batches, plain, strict=True):
            torch.testing.assert_close(outside(batch).logits, logits, atol=1e-5, rtol=1e-4)
    assert counters["stats"]["unique_graphs"] > 0
    expected = model.predict(TEXTS)
    counters.clear()
    torch._dynamo.reset()
    compiled._compiled.cache_clear()
    model.compile()  # in place, so that all that runs the model runs it compiled
    assert [one.label for one in model.predict(TEXTS)] == [one.label for one in expected]
    assert counters["stats"]["unique_graphs"] > 0


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise RuntimeError("no C++ compiler\nwas found")

    monkeypatch.setattr(compiled, "BACKEND", none)
    with pytest.raises(
        UserError, match=r"^compile: true cannot be used here, leave it out: .*C\+\+"
    ):
        gradients(tiny_model("bert"), True, (5, 4))
