"""Parts of layers that are recorded give what they give operator by operator.

Without a GPU a recording is a call that is made again; what graphs read and leave, for which sizes,
and when they are made anew is the same.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tests.contract.test_contract import FILES
from tests.engine.imitation import imitated_graphs
from tokendrop.engine import graphs
from tokendrop.engine.encoder import encode
from tokendrop.engine.graphs import sized
from tokendrop.engine.packed import Batch
from tokendrop.measure.flops import counted_flops
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import FAMILY_NAMES, built, packed, run, tiny_model, tiny_rows

ROWS = tiny_rows((1, 19, 12, 7, 7, 30))
DROPS = {name: next(iter(file.DROPS.values())) for name, file in FILES.items() if file.DROPS}
ON_GPU = pytest.param("cuda", marks=pytest.mark.gpu)


@pytest.fixture(params=["cpu", ON_GPU])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "cpu":
        assert graphs.usable(nn.Linear(1, 1), torch.zeros(1, 1)) is False
    with imitated_graphs() if request.param == "cpu" else nullcontext():
        yield request.param


def eagerly(model: PreTrainedModel, reducer: Reducer, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(graphs, "ENABLED", False)
        return run(model, reducer, ROWS).logits


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_dense_answers_stay_the_same_once_recorded(
    family: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(family).to(device)
    expected = eagerly(model, Dense(), monkeypatch)
    for _ in range(3):
        torch.testing.assert_close(run(model, Dense(), ROWS).logits, expected, atol=1e-5, rtol=1e-5)
    assert any(graph for layer in graphs._KNOWN.values() for graph in layer.graphs.values())


@pytest.mark.parametrize("name", DROPS)
def test_every_method_decides_the_same(
    name: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, reducer = tiny_model("bert").to(device), built(DROPS[name]())
    expected = eagerly(model, reducer, monkeypatch)
    for _ in range(3):
        found = run(model, reducer, ROWS).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_new_weights_are_used(device: str) -> None:
    model = tiny_model("bert").to(device)
    for _ in range(3):
        run(model, Dense(), ROWS)
    layer: Any = model.base_model.encoder.layer[1]
    recorded = graphs._KNOWN[layer]
    with torch.no_grad():
        layer.output.dense.weight.mul_(-1)  # where it is, as an optimiser does
    mended = run(model, Dense(), ROWS).logits
    assert graphs._KNOWN[layer] is recorded
    layer.output.dense.weight = nn.Parameter(-layer.output.dense.weight.detach())
    back = run(model, Dense(), ROWS).logits
    assert graphs._KNOWN[layer] is not recorded
    assert not torch.allclose(back, mended, atol=1e-3)


@pytest.mark.parametrize("change", ["adapter", "hook", "hook in front"])
def test_changed_modules_are_used(change: str, device: str) -> None:
    model = tiny_model("bert").to(device)
    for _ in range(3):
        run(model, Dense(), ROWS)
    layer: Any = model.base_model.encoder.layer[1]
    recorded = graphs._KNOWN[layer]
    dense = layer.output.dense
    if change == "adapter":
        layer.output.dense = nn.Sequential(dense)  # the same weights, somewhere else
    elif change == "hook":
        dense.register_forward_hook(lambda _, __, states: -states)
    else:
        dense.register_forward_pre_hook(lambda _, states: (-states[0],))
    run(model, Dense(), ROWS)
    assert graphs._KNOWN[layer] is not recorded


class Remembers(Reducer):
    """Keeps the states that it is shown, as a method that compares layers does."""

    def start(self, batch: Batch) -> list[Tensor]:
        return []

    def after_layer(self, view: View) -> Decision | None:
        view.memory.append(view.hidden)
        return None


def test_states_that_a_method_keeps_are_not_overwritten(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = tiny_model("bert").to(device), packed(ROWS).to(device)
    with torch.inference_mode():
        for _ in range(2):
            kept = encode(model, batch, Remembers()).memory
        monkeypatch.setattr(graphs, "ENABLED", False)
        expected = encode(model, batch, Remembers()).memory
    for mine, plain in zip(kept, expected, strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
def test_every_operator_is_counted() -> None:
    model, batch = tiny_model("bert").to("cuda"), packed(ROWS).to("cuda")
    before, _ = counted_flops(model, batch, Dense())
    for _ in range(3):
        run(model, Dense(), ROWS)
    assert counted_flops(model, batch, Dense())[0] == before


def test_a_pass_inside_another_one_does_not_disturb_it(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("bert").to(device)

    class Nested(Dense):
        def after_layer(self, view: View) -> Decision | None:
            encode(model, packed(tiny_rows((3, 3))).to(device), Dense())
            return None

    expected = eagerly(model, Dense(), monkeypatch)
    for _ in range(3):
        found = run(model, Nested(), ROWS).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_model_that_is_gone_leaves_no_graph(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if device == "cpu":  # unlike a graph, a call that is to be made again holds the layer
        monkeypatch.setattr(graphs, "capture", lambda call, left: list)
    model = tiny_model("bert").to(device)
    for _ in range(3):
        run(model, Dense(), ROWS)
    layer = weakref.ref(model.base_model.encoder.layer[0])  # type: ignore[operator, union-attr]
    del model
    gc.collect()
    assert layer() is None


def test_few_sizes_and_little_of_them_spare() -> None:
    sizes = [sized(tokens) for tokens in range(1, 8193)]
    assert all(size >= tokens for tokens, size in enumerate(sizes, 1))
    assert max(size / tokens for tokens, size in enumerate(sizes, 1) if tokens > 1024) < 1.07
    assert len(set(sizes)) < 70
