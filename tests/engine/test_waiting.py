"""The host waits for no device but where a method decides by content, and there once a layer.

Tensors of the device "meta" have shapes and no numbers, so a pass that reads one of them fails.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import pytest
import torch
from transformers import PreTrainedModel

from baselines import AttentionTopK, FewerLayers, FirstK, RandomDrop, TokenMerging, Truncation
from tokendrop.engine import ragged
from tokendrop.engine.by_row import row_sum
from tokendrop.engine.encoder import encode, walk
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.measure.speed.by_hand import METHODS
from tokendrop.measure.speed.shapes import random_model, random_rows
from tokendrop.models.backbones import shape_of
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.tasks import SequenceClassification
from tokendrop.testing.tiny import FAMILY_NAMES, LAYERS, built, packed, tiny_model, tiny_rows

LAYERS_OF_MINILM = 6
STATIC: dict[str, Callable[[], Reducer]] = {
    "dense": Dense,
    "power_bert": lambda: PowerBert(configuration=[20, 9, 4]),
    "length_adaptive": lambda: LengthAdaptive(configuration=[20, 9, 4]),
    "attention_top_k": lambda: AttentionTopK(0.6),
    "random_drop": lambda: RandomDrop(0.6),
    "first_k": lambda: FirstK(0.6),
    "truncation": lambda: Truncation(8),
    "fewer_layers": lambda: FewerLayers(2),
    "token_merging": lambda: TokenMerging(0.3, order="reference"),
}


@pytest.fixture
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which asks what it does on a device, and does not know this one."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)


@pytest.fixture(params=[False, True], ids=["operators", "kernels"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which the operators' fake versions run here."""
    if request.param:
        pytest.importorskip("triton", reason="Triton has packages for Linux only")
        monkeypatch.setattr(ragged, "DEVICES", {"meta"})


@pytest.mark.usefixtures("no_autocast", "kernels")
@pytest.mark.parametrize("restore", [False, True], ids=["read_cls", "read_tokens"])
@pytest.mark.parametrize("method", STATIC)
def test_what_does_not_depend_on_content_is_known_to_the_host(method: str, restore: bool) -> None:
    rows = tiny_rows()
    model, reducer = tiny_model("bert"), built(STATIC[method]())
    whole = walk(model, packed(rows), reducer, restore=restore)
    model.to("meta")
    walked = walk(model, packed(rows).to("meta"), reducer.to("meta"), restore=restore)
    assert walked.layout.lengths == whole.layout.lengths
    assert walked.trace.row_depth().tolist() == whole.trace.row_depth().tolist()
    assert len(walked.trace.layers) == (2 if method == "fewer_layers" else LAYERS)


@pytest.mark.usefixtures("no_autocast", "kernels")
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_dense_pass_of_no_family_waits(family: str) -> None:
    model = tiny_model(family).to("meta")
    assert walk(model, packed(tiny_rows()).to("meta"), Dense()).hidden.device.type == "meta"


def test_scores_wait_for_nothing_until_they_are_asked_for() -> None:
    batch = packed(tiny_rows()).to("meta")
    task = SequenceClassification(["a", "b", "c"], class_weights=[1.0, 2.0, 3.0])
    logits = torch.zeros(len(batch), 3, device="meta")
    scores = task.scores(None)  # type: ignore[arg-type]
    for _ in range(3):
        scores.update(logits, batch)
    assert task.loss(logits, batch).device.type == "meta"


# -- on a GPU --------------------------------------------------------------------------------------


@contextmanager
def watched(mode: Literal["warn", "error"]) -> Iterator[None]:
    """Let CUDA say where the host waits for it."""
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(scope="module")
def minilm() -> PreTrainedModel:
    return random_model("minilm-l6", "cuda")


def batch_on_gpu() -> Batch:
    return Batch.pack(sorted(random_rows("short", 32), key=len)).to("cuda")


def method_on_gpu(name: str, model: PreTrainedModel) -> Reducer:
    reducer = METHODS[name](0.5, batch_on_gpu(), shape_of(model.config, 60))
    return reducer.to("cuda").eval()


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["dense", "power_bert", "length_adaptive"])
@torch.inference_mode()
def test_a_pass_without_decisions_by_content_never_waits(
    method: str, minilm: PreTrainedModel
) -> None:
    reducer = Dense() if method == "dense" else method_on_gpu(method, minilm)
    for _ in range(2):  # kernels are compiled, graphs recorded
        encode(minilm, batch_on_gpu(), reducer)
    batch = batch_on_gpu()
    torch.cuda.synchronize()
    with watched("error"):
        encode(minilm, batch, reducer)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["adapler", "dact_bert"])
@torch.inference_mode()
def test_a_pass_with_decisions_by_content_waits_once_a_layer(
    method: str, minilm: PreTrainedModel
) -> None:
    reducer = method_on_gpu(method, minilm)
    for _ in range(2):
        encode(minilm, batch_on_gpu(), reducer)
    batch = batch_on_gpu()
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught, watched("warn"):
        warnings.simplefilter("always")
        encode(minilm, batch, reducer)
    waits = [f"{w.filename}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
    assert len(waits) <= LAYERS_OF_MINILM, waits


@pytest.mark.gpu
def test_sums_of_rows_repeat_their_bits() -> None:
    lengths = torch.randint(1, 500, (64,)).tolist()
    layout, values = Layout.of(lengths, "cuda"), torch.randn(sum(lengths), 8, device="cuda")
    sums = row_sum(values.requires_grad_(), layout)
    assert all(torch.equal(sums, row_sum(values, layout)) for _ in range(20))
    expected = torch.stack([row.sum(0) for row in values.split(lengths)])
    torch.testing.assert_close(sums, expected, atol=1e-4, rtol=1e-4)
    weights = torch.arange(8.0, device="cuda")
    (gradient,) = torch.autograd.grad((sums * weights).sum(), values)
    torch.testing.assert_close(gradient, weights.expand_as(values))
