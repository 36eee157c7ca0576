"""AdapLeR's soft removal by kernels, run by Triton's interpreter, is that by torch's operators."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tokendrop.engine import ragged
from tokendrop.engine.encoder import encode
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.reducers.adapler import AdapLeR
from tokendrop.reducers.base import StageContext
from tokendrop.reducers.soft_removal import FLOOR
from tokendrop.reducers.soft_removal.soften import soften
from tokendrop.testing.tiny import built, tiny_model, tiny_rows
from tokendrop.training.objectives import backward

pytest.importorskip("triton", reason="Triton has packages for Linux only")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # by Triton's interpreter
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []

LENGTHS = st.builds(
    lambda short, long: short + long,
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.sampled_from([[], [256], [300]]),
)
SHARP = st.sampled_from([10.0, 50.0, 1e3])


@pytest.fixture(autouse=True, scope="module")
def _everything_there() -> Iterator[None]:
    with torch.device(DEVICE):
        yield


def entering(lengths: list[int], eta: float, sharpness: float) -> dict[str, Tensor]:
    """Random rows in the middle of a pass: some tokens are whole, some fading, some gone."""
    layout, tokens = Layout.of(lengths, DEVICE), sum(lengths)
    mask = torch.rand(tokens).round(decimals=1).masked_fill(layout.is_first, 1.0)
    mask = torch.where(torch.rand(tokens) < 0.2, 1e-7, mask).masked_fill(layout.is_first, 1.0)
    states = {"logits": 2 * torch.randn(tokens), "mask": mask, "bias": 10 * mask.log().clamp(FLOOR)}
    known = {"eta": torch.tensor(eta), "theta": torch.tensor(0.8)}
    given = {name: value.requires_grad_() for name, value in (states | known).items()}
    return given | {"sharpness": torch.tensor(sharpness)}


@settings(max_examples=20)
@given(
    LENGTHS,
    st.floats(0.01, 1.0),
    SHARP,
    st.booleans(),
    st.lists(st.booleans(), min_size=3, max_size=3).filter(any),
    st.integers(0, 99),
)
def test_numbers_and_gradients_are_those_of_torchs_operators(
    lengths: list[int],
    eta: float,
    sharpness: float,
    first_layer: bool,
    asked: list[bool],
    seed: int,
) -> None:
    torch.manual_seed(seed)
    states, layout = entering(lengths, eta, sharpness), Layout.of(lengths, DEVICE)
    # what a layer hands on does not always reach the loss
    wanted = [torch.randn(sum(lengths)) for _ in range(3)]
    found, gradients = [], []
    for devices in (set(), {DEVICE}):
        given = states | ({"theta": None} if first_layer else {})
        with patch.object(ragged, "DEVICES", devices):
            made = soften(**given, layout=layout)
        loss = sum(
            (x * w).sum() for x, w, is_asked in zip(made, wanted, asked, strict=True) if is_asked
        )
        leaves = [x for x in given.values() if x is not None and x.requires_grad]
        found.append(made)
        gradients.append(torch.autograd.grad(loss, leaves, allow_unused=True))
    for one, other in zip(*found, strict=True):
        # so much a fall this steep makes of one rounding
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6 * sharpness)
    for one, other in zip(*gradients, strict=True):
        one = torch.zeros_like(other) if one is None else one
        torch.testing.assert_close(other, one, rtol=5e-3, atol=1e-4 * (1 + float(one.abs().max())))


@settings(max_examples=20)
@given(LENGTHS, st.floats(0.01, 1.0), st.sampled_from([1e5, 1e20]))
def test_at_its_sharpest_the_same_tokens_are_gone(
    lengths: list[int], eta: float, sharpness: float
) -> None:
    torch.manual_seed(0)
    given, layout = entering(lengths, eta, sharpness), Layout.of(lengths, DEVICE)
    gone = []
    for devices in (set(), {DEVICE}):
        with patch.object(ragged, "DEVICES", devices):
            _, mask, bias = soften(**given, layout=layout)
        gone.append((mask < 0.01, bias < -100))
    assert all(map(torch.equal, *gone))
    assert not mask.isnan().any()


@settings(max_examples=10)
@given(LENGTHS, st.floats(0.01, 1.0), SHARP)
def test_a_row_alone_has_the_bits_that_it_has_in_a_batch(
    lengths: list[int], eta: float, sharpness: float
) -> None:
    torch.manual_seed(0)
    given, taken = entering(lengths, eta, sharpness), ("logits", "mask", "bias")
    with patch.object(ragged, "DEVICES", {DEVICE}):
        whole = soften(**given, layout=Layout.of(lengths, DEVICE))
        places = zip(lengths, *(given[name].split(lengths) for name in taken), strict=True)
        for row, (length, *states) in enumerate(places):
            own = given | dict(zip(taken, states, strict=True))
            alone = soften(**own, layout=Layout.of([length], DEVICE))
            for one, other in zip(whole, alone, strict=True):
                assert torch.equal(one.split(lengths)[row], other)


def test_a_training_step_moves_all_weights_as_without_kernels() -> None:
    rows = tiny_rows([9, 1, 14])
    batch = Batch.pack([row.ids for row in rows], examples=range(len(rows))).to(DEVICE)
    # on the host, as a comparison keeps it
    saliency = [torch.rand(len(row.ids), device="cpu") for row in rows]
    gradients = []
    for devices in (set(), {DEVICE}):
        model = tiny_model("bert").to(DEVICE)
        reducer = built(AdapLeR(first_threshold=0.9, length_weight=0.1)).to(DEVICE).train()
        for predictor in reducer.contribution_predictors:
            predictor.score.weight.data.mul_(40)
        context = StageContext(torch.tensor([9, 1, 14]), 10, saliency=lambda: saliency)
        (stage,) = reducer.stages()
        reducer.enter(stage, context)
        reducer.sharpness.fill_(10)
        with patch.object(ragged, "DEVICES", devices):
            encoded = encode(model, batch, reducer)
            losses = reducer.losses(encoded) | {"task": encoded.logits.square().sum()}
            backward(losses, reducer.groups(stage, model), Tensor.backward)
        moved = [*model.named_parameters(), *reducer.named_parameters()]
        gradients.append({name: p.grad for name, p in moved if p.grad is not None})
    one, other = gradients
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-5)
    assert {"eta", "theta"} <= one.keys()
    assert one["theta"].all()
