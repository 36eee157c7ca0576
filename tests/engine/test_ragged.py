"""The kernels for GPUs, run by Triton's interpreter, do what the plain attention does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tokendrop.engine import ragged
from tokendrop.engine.attention import attend
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.engine.positions import RelativeBias, SlidingWindow

pytest.importorskip("triton", reason="Triton has packages for Linux only")

import itertools

from tokendrop.engine.ragged.attend import attend_ragged
from tokendrop.engine.ragged.operators import ragged_attention, ragged_received

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # by Triton's interpreter
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []


@pytest.fixture(autouse=True, scope="module")
def _everything_there() -> Iterator[None]:
    with torch.device(DEVICE):
        yield


CLOSE = {torch.float32: 2e-5, torch.bfloat16: 4e-2, torch.float16: 6e-3}


@st.composite
def asked(draw: st.DrawFn) -> dict[str, Any]:
    """Rows of 1 to 200 tokens, and all that can be asked of their attention."""
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
    lengths += draw(st.sampled_from([[], [64], [65], [130], [200]]))
    return {
        "lengths": lengths,
        "heads": draw(st.sampled_from([1, 2])),
        "size": draw(st.sampled_from([4, 16, 24])),
        "spare": draw(st.integers(0, 2)),
        "type": draw(st.sampled_from(list(CLOSE))),
        "received": draw(st.sampled_from([None, "with_diagonal", "without_diagonal"])),
        "bias": draw(st.sampled_from([None, "some", "mask"])),
        "reach": draw(st.sampled_from([None, 0, 3, 50])),
        "relative": draw(st.booleans()),
        "lost": draw(st.booleans()),
        "seed": draw(st.integers(0, 99)),
    }


def states(what: dict[str, Any]) -> tuple[list[Tensor], Layout, dict[str, Any]]:
    """Query, key and value; where the rows lie; and the other arguments of attention."""
    torch.manual_seed(what["seed"])
    batch = Batch.pack([[0] * n for n in what["lengths"]]).to(DEVICE)
    layout = batch.layout
    if what["lost"]:
        layout = layout.keep(layout.is_first | (torch.rand(len(layout.tokens)) < 0.6))[1]
    tokens = len(layout.tokens)
    shape = (tokens + what["spare"], what["heads"], what["size"])
    found = [torch.randn(shape).to(what["type"]) for _ in range(3)]
    bias = None
    if what["bias"] is not None:
        bias = 3 * torch.randn(tokens)
        if what["bias"] == "mask":
            # each query sees itself at least, as with every mask of ours
            hidden = (torch.rand(tokens) < 0.3) & ~layout.is_first
            bias = bias.masked_fill(hidden, -torch.inf) if what["reach"] is None else bias
    window = None if what["reach"] is None else SlidingWindow.of(what["reach"], batch, layout)
    relative = relative_bias(what["heads"], batch) if what["relative"] else None
    others = {"key_bias": bias, "window": window, "relative": relative}
    return found, layout, {"received": what["received"], **others}


def relative_bias(heads: int, batch: Batch) -> RelativeBias:
    """Random numbers for 8 buckets: near ones of their own, far ones together."""
    reach = max(batch.spans)
    bucket = torch.arange(-reach, reach + 1).clamp(-4, 3) + 4
    return RelativeBias(torch.randn(heads, 8, requires_grad=True), bucket.int(), batch)


def by_kernels(
    found: list[Tensor], layout: Layout, dropout: float = 0.0, **others: Any
) -> tuple[Tensor, Tensor | None]:
    return attend_ragged(
        *found, layout, others["received"], others["key_bias"], others["window"],
        others["relative"], dropout,
    )  # fmt: skip


def plainly(found: list[Tensor], layout: Layout, **others: Any) -> tuple[Tensor, Tensor | None]:
    with patch.object(ragged, "DEVICES", set()):
        return attend(*found, layout, **others)


@settings(max_examples=25)
@given(asked())
def test_context_and_received_attention_are_those_of_the_plain_path(what: dict[str, Any]) -> None:
    found, layout, others = states(what)
    tokens, close = len(layout.tokens), CLOSE[what["type"]]
    found = [x.requires_grad_() for x in found]
    context, received = by_kernels(found, layout, **others)
    expected, sums = plainly([x.float() for x in found], layout, **others)
    assert context.dtype == what["type"]
    torch.testing.assert_close(context[:tokens].float(), expected[:tokens], atol=close, rtol=close)
    # in training spare rows go on into the gradients of weights, so they must hold numbers
    assert torch.isfinite(context).all()
    assert (received is None) == (sums is None)
    if received is not None:
        assert received.dtype == torch.float32
        torch.testing.assert_close(received, sums, atol=1e-4, rtol=1e-4)


@settings(max_examples=12)
@given(asked())
def test_gradients_are_those_of_the_plain_path(what: dict[str, Any]) -> None:
    found, layout, others = states(what | {"type": torch.float32, "received": None})
    tokens = len(layout.tokens)
    weights = torch.randn(tokens, what["heads"] * what["size"])

    relative = others["relative"]

    def gradients(path: Any) -> list[Tensor]:
        leaves = [x.clone().requires_grad_() for x in found]
        bias = others["key_bias"]
        if bias is not None:
            bias = bias.clone().requires_grad_()
        context, _ = path(leaves, others | {"key_bias": bias})
        leaves += [] if bias is None else [bias]
        leaves += [] if relative is None else [relative.weight]
        return list(torch.autograd.grad((context[:tokens] * weights).sum(), leaves))

    mine = gradients(lambda leaves, asked: by_kernels(leaves, layout, **asked))
    plain = gradients(lambda leaves, asked: plainly(leaves, layout, **asked))
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one[:tokens], other[:tokens], atol=5e-5, rtol=1e-4)
        assert torch.isfinite(one).all()


def rows_alone(lengths: list[int]) -> None:
    found, layout, others = states(PLAIN | {"lengths": lengths, "received": "with_diagonal"})
    context, received = by_kernels(found, layout, **others)
    assert received is not None
    ends = layout.offsets.tolist()
    for begin, end in itertools.pairwise(ends):
        alone, sums = by_kernels(
            [x[begin:end] for x in found], Layout.of([end - begin], DEVICE), **others
        )
        assert torch.equal(alone, context[begin:end])
        assert sums is not None
        assert torch.equal(sums, received[begin:end])


PLAIN: dict[str, Any] = {
    "lengths": [70, 9, 1, 64], "heads": 2, "size": 16, "spare": 0, "type": torch.float32,
    "received": None, "bias": None, "reach": None, "relative": False, "lost": False, "seed": 0,
}  # fmt: skip


def test_a_row_has_the_same_bits_alone_and_in_any_batch() -> None:
    rows_alone([70, 9, 1, 64])
    rows_alone([9, 129, 64])


def test_dropout_is_drawn_alike_by_every_kernel() -> None:
    n, dropout = 12, 0.4
    layout = Layout.of([n, 3], DEVICE)
    query, key = (torch.randn(n + 3, 1, 16) for _ in range(2))
    # with unit vectors as values the context is the probabilities that dropout left
    value = torch.eye(n + 3, 16)[:, None]
    value[n:] = value[:3]
    arguments = (
        None, None, None, None, layout.offsets, layout.tiles, len(layout.tokens), layout.pairs, -1,
        dropout, 7,
    )  # fmt: skip
    context, logsumexp = ragged_attention(query, key, value, *arguments)
    left = context[:n, 0, :n]
    whole = ragged_attention(query, key, value, *arguments[:-2], 0.0, 7)[0][:n, 0, :n]
    kept = left != 0
    assert 0.4 < kept.float().mean() < 0.8
    torch.testing.assert_close(left, torch.where(kept, whole / (1 - dropout), 0))
    sums = ragged_received(query, key, logsumexp, *arguments, True)
    torch.testing.assert_close(sums[:n], left.sum(0))
    other = ragged_attention(query, key, value, *arguments[:-1], 8)[0][:n, 0, :n]
    assert not torch.equal(other != 0, kept)


@pytest.mark.parametrize(("reach", "near"), [(None, False), (2, False), (None, True)])
def test_gradients_with_dropout_are_those_of_finite_differences(
    reach: int | None, near: bool
) -> None:
    batch = Batch.pack([[0] * 5, [0] * 2]).to(DEVICE)
    layout = batch.layout
    found = [torch.randn(7, 1, 4, requires_grad=True) for _ in range(3)]
    bias = torch.randn(7, requires_grad=True)
    weights = torch.randn(7, 1, 4)
    places = batch.positions if reach or near else None
    relative = relative_bias(1, batch) if near else None
    by_place = (None, None) if relative is None else (relative.weight, relative.bucket)
    arguments = (
        places, *by_place, layout.offsets, layout.tiles, len(layout.tokens), layout.pairs,
        reach or -1, 0.3, 3,
    )  # fmt: skip

    def loss() -> Tensor:
        return (ragged_attention(*found, bias, *arguments)[0] * weights).sum()

    leaves = [*found, bias, *([] if relative is None else [relative.weight])]
    exact = torch.autograd.grad(loss(), leaves)
    draws = torch.Generator(DEVICE).manual_seed(1)
    for leaf, gradient in zip(leaves, exact, strict=True):
        direction = torch.randn(leaf.shape, generator=draws)
        step = 1e-2
        with torch.no_grad():
            leaf += step * direction
            above = loss()
            leaf -= 2 * step * direction
            below = loss()
            leaf += step * direction
        slope = (above - below) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), slope, atol=2e-3, rtol=2e-3)


def test_torch_sees_the_operators() -> None:
    layout = Layout.of([5, 3], DEVICE)
    query, key, value = (torch.randn(8, 2, 16, requires_grad=True) for _ in range(3))
    bias = torch.randn(8, requires_grad=True)
    batch = Batch.pack([[0] * 5, [0] * 3]).to(DEVICE)
    relative = relative_bias(2, batch)
    shared: tuple[Any, ...] = (
        bias, batch.positions, relative.weight, relative.bucket, layout.offsets, layout.tiles,
        len(layout.tokens), layout.pairs, -1, 0.0, 0,
    )  # fmt: skip
    with FlopCounterMode(display=False) as counter:
        context, logsumexp = ragged_attention(query, key, value, *shared)
    products = 2 * 2 * 16 * (5**2 + 3**2)
    assert counter.get_total_flops() == 2 * products
    with FlopCounterMode(display=False) as counter:
        context.sum().backward()
    assert counter.get_total_flops() == 5 * products
    plain = [x.detach() for x in (query, key, value, context, logsumexp, bias)]
    q, k, v, context, logsumexp, bias = plain
    weight = relative.weight.detach()
    operators, shared = torch.ops.tokendrop, (bias, shared[1], weight, *shared[3:])
    for operator, inputs in (
        (operators.ragged_attention, (q, k, v, *shared)),
        (operators.ragged_received, (q, k, logsumexp, *shared, False)),
        (operators.ragged_attention_backward, (v, q, k, v, context, logsumexp, *shared)),
    ):
        tests = ("test_schema", "test_faketensor")
        torch.library.opcheck(operator.default, inputs, test_utils=tests)


def test_compiled_it_is_one_graph_with_the_same_gradients() -> None:
    layout = Layout.of([5, 3], DEVICE)
    found = [torch.randn(8, 2, 16, requires_grad=True) for _ in range(3)]
    where = (layout.offsets, layout.tiles, 8, layout.pairs)
    arguments = (None, None, None, None, *where, -1, 0.0, 0)

    def loss(*states: Tensor) -> Tensor:
        return ragged_attention(*states, *arguments)[0].square().sum()

    expected = torch.autograd.grad(loss(*found), found)
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for mine, plain in zip(torch.autograd.grad(compiled(*found), found), expected, strict=True):
        torch.testing.assert_close(mine, plain)
