"""A pass that is recorded as a whole gives what it gives layer by layer.

Without a GPU a recording is a call that is made again, and the kernels run by Triton's interpreter;
what is told to a graph, for which sizes, and what it leaves is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any
from unittest.mock import patch

import pytest
import torch
from transformers import PreTrainedModel

from baselines import AttentionTopK, FewerLayers, FirstK
from tests.engine.imitation import imitated_graphs
from tokendrop.engine import graphs, ragged, whole
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded
from tokendrop.measure.flops import pass_flops
from tokendrop.models.backbones import shape_of
from tokendrop.reducers.base import Reducer, Stage, StageContext
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import FAMILY_NAMES, built, packed, tiny_model, tiny_rows

pytest.importorskip("triton", reason="Triton has packages for Linux only")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []

METHODS: dict[str, Callable[[], Reducer]] = {
    "dense": Dense,
    "power_bert": lambda: PowerBert(configuration=[20, 9, 4]),
    "power_bert_by_row": lambda: PowerBert(configuration=[32, 16, 6], retention_basis="row"),
    "length_adaptive": lambda: LengthAdaptive(configuration=[20, 20, 4]),
}
LAYER_BY_LAYER = {"modernbert", "mpnet"}  # whose layers know positions
ROWS = (5, 19, 12, 30)


@pytest.fixture(autouse=True)
def recording() -> Iterator[None]:
    """Graphs, and the kernels that they need."""
    if DEVICE == "cuda":
        yield
        return
    with patch.object(ragged, "DEVICES", {DEVICE}), imitated_graphs():
        yield


def small_model(family: str) -> PreTrainedModel:
    """One head, since the interpreter takes its time for each."""
    return tiny_model(family, num_attention_heads=1)


@torch.inference_mode()
def passed(model: PreTrainedModel, reducer: Reducer, lengths: tuple[int, ...]) -> Encoded:
    return encode(model, packed(tiny_rows(lengths)).to(DEVICE), reducer)


def layer_by_layer(model: PreTrainedModel, reducer: Reducer, lengths: tuple[int, ...]) -> Encoded:
    with patch.object(graphs, "ENABLED", False):
        return passed(model, reducer, lengths)


def recorded(model: PreTrainedModel) -> list[Any]:
    return [graph for of_place in graphs.recordings(model).values() for graph in of_place]


def assert_equal(found: Encoded, plain: Encoded) -> None:
    torch.testing.assert_close(found.logits, plain.logits, atol=1e-5, rtol=1e-5)
    assert found.trace.head_states == plain.trace.head_states
    for one, other in zip(found.trace.layers, plain.trace.layers, strict=True):
        for name in ("entered", "attention", "feed_forward"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert (mine.lengths, mine.origin) == (theirs.lengths, theirs.origin)
            assert torch.equal(mine.tokens, theirs.tokens)


# every method, and every family with what has most to record
@pytest.mark.parametrize(
    ("family", "method"),
    [
        *product(["bert"], METHODS),
        *product([name for name in FAMILY_NAMES if name != "bert"], ["power_bert"]),
    ],
)
def test_answers_and_traces_stay_the_same_once_recorded(family: str, method: str) -> None:
    model, reducer = small_model(family).to(DEVICE), built(METHODS[method]()).to(DEVICE)
    plain = layer_by_layer(model, reducer, ROWS)
    for _ in range(3):
        assert_equal(passed(model, reducer, ROWS), plain)
    assert bool(recorded(model)) == (family not in LAYER_BY_LAYER)


@pytest.mark.parametrize("method", ["power_bert", "power_bert_by_row"])
def test_one_graph_serves_whatever_fits_into_it(method: str) -> None:
    model, reducer = small_model("bert").to(DEVICE), built(METHODS[method]()).to(DEVICE)
    # one row to three, short and long ones, more and fewer than before
    batches = [(20, 21, 20), (20, 21, 20), (40,), (1, 2), (3, 30, 8), (1,), (20, 19, 22)]
    found = [passed(model, reducer, lengths) for lengths in batches]
    # compared only now: what a pass gave is not overwritten by those that follow
    for lengths, one in zip(batches, found, strict=True):
        assert_equal(one, layer_by_layer(model, reducer, lengths))


def test_a_pass_that_needs_more_room_gets_it_and_smaller_ones_keep_it() -> None:
    model, reducer = small_model("bert").to(DEVICE), built(METHODS["power_bert"]()).to(DEVICE)
    few, many = (36, 36, 4, 4), (21, 21, 21, 17)  # as many tokens, of which 48 and 77 stay
    fine = patch("tokendrop.engine.plan.sized", lambda tokens: -(-tokens // 16) * 16)
    with fine, patch.object(whole, "SPARE", 2):
        for lengths in (few, few, many, few, many):
            assert_equal(passed(model, reducer, lengths), layer_by_layer(model, reducer, lengths))
    (graph,) = recorded(model)
    assert graph.size.tokens[1:] == (80, 48, 16)


def test_new_weights_are_used() -> None:
    model, reducer = small_model("bert").to(DEVICE), Dense()
    for _ in range(3):
        before = passed(model, reducer, ROWS).logits
    weight = model.base_model.encoder.layer[1].output.dense.weight  # type: ignore
    with torch.no_grad():
        weight.mul_(-1)  # where it is, as an optimiser does
    mended = passed(model, reducer, ROWS)
    assert recorded(model)
    assert not torch.allclose(mended.logits, before, atol=1e-3)
    weight.data = -weight.data
    back = passed(model, reducer, ROWS).logits
    assert not recorded(model)
    torch.testing.assert_close(back, before, atol=1e-5, rtol=1e-5)


def test_what_is_not_known_beforehand_goes_layer_by_layer() -> None:
    model = small_model("bert").to(DEVICE)
    searching = built(PowerBert(search_epochs=1))
    stage = Stage("search", 1, 1e-5)
    searching.enter(stage, StageContext(torch.tensor(ROWS), steps=10))
    shrinking, batch = built(LengthAdaptive()), packed(tiny_rows(ROWS)).to(DEVICE)
    plan = shrinking._plan(batch, lambda tokens: [5, 4, 3], [True] * 3)
    with torch.inference_mode(), shrinking.following(lambda _: plan):
        others = [built(kind) for kind in (AttentionTopK(0.6), FirstK(0.6), FewerLayers(2))]
        for reducer in (searching, shrinking, *others):
            for _ in range(3):
                encode(model, batch, reducer.to(DEVICE))
    assert not recorded(model)


def test_flops_are_those_of_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    model, reducer = small_model("bert").to(DEVICE), built(METHODS["power_bert"]()).to(DEVICE)
    shape = shape_of(model.config, 40)
    plain = pass_flops(layer_by_layer(model, reducer, ROWS).trace, reducer, model, shape)
    for _ in range(3):
        trace = passed(model, reducer, ROWS).trace
    assert pass_flops(trace, reducer, model, shape) == plain


def test_the_graph_that_was_not_used_for_longest_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole, "GRAPHS", 2)
    model, sizes = small_model("bert").to(DEVICE), (ROWS, (3,), (3,) * 9)
    for lengths in (*sizes[:2], *sizes[:2], sizes[0], *sizes, sizes[2]):
        assert_equal(passed(model, Dense(), lengths), layer_by_layer(model, Dense(), lengths))
    assert [graph.size.rows for graph in recorded(model)] == [2, 16]


def test_a_pass_with_much_less_work_has_a_graph_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokendrop.engine.plan.sized", lambda tokens: -(-tokens // 16) * 16)
    model, rows = small_model("bert").to(DEVICE), (36, 36, 30)
    half, quarter = (
        built(PowerBert(configuration=counts)).to(DEVICE) for counts in ([24, 18, 18], [8, 4, 4])
    )
    for reducer in (half, half, quarter, quarter, half):
        assert_equal(passed(model, reducer, rows), layer_by_layer(model, reducer, rows))
    one, other = recorded(model)
    assert one.size.total < 0.7 * other.size.total


def test_a_token_without_a_number_spoils_no_other_row() -> None:
    model, reducer = small_model("bert").to(DEVICE), built(METHODS["power_bert"]()).to(DEVICE)
    weights = model.get_input_embeddings().weight
    batch = Batch.pack([[8] * 9, [9] * 20, [7] * 4]).to(DEVICE)
    with torch.inference_mode(False), torch.no_grad():
        weights[7] = torch.nan
    with torch.inference_mode():
        for _ in range(3):
            logits = encode(model, batch, reducer).logits
    assert logits[:2].isfinite().all()
    assert logits[2].isnan().all()
