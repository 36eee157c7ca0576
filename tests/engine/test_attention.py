"""Packed attention against a padded, masked reference in float64."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tokendrop.engine.attention import attend
from tokendrop.engine.blocks import WASTE
from tokendrop.engine.by_row import row_sum
from tokendrop.engine.layout import Layout
from tokendrop.engine.probabilities import Received

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=7)
PIECES = st.sampled_from([1, 60, 1 << 19])  # probabilities at a time
KINDS: tuple[Received | None, ...] = (None, "with_diagonal", "without_diagonal")
HEADS, SIZE = 3, 4


def inputs(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Query, key and value as leaves, and a bias for each key."""
    generator = torch.Generator().manual_seed(seed)
    shape = (sum(lengths), HEADS, SIZE)
    query, key, value = (2 * torch.randn(shape, generator=generator) for _ in range(3))
    bias = 2 * torch.randn(sum(lengths), generator=generator)
    return tuple(x.requires_grad_() for x in (query, key, value, bias))  # type: ignore[return-value]


def padded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None,
    lengths: list[int],
    near: Tensor | None = None,
    apart: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Context, and probabilities (rows, heads, queries, keys) with padding queries at 0."""
    q, k, v = (
        pad_sequence(list(x.double().split(lengths)), batch_first=True).transpose(1, 2)
        for x in (query, key, value)
    )
    real = pad_sequence([torch.ones(n, dtype=torch.bool) for n in lengths], batch_first=True)
    logits = q @ k.mT / SIZE**0.5
    if bias is not None:
        added = pad_sequence(list(bias.double().split(lengths)), batch_first=True)
        logits = logits + added[:, None, None]
    if apart is not None:  # (rows, heads, queries, keys)
        logits = logits + apart
    logits = logits.masked_fill(~real[:, None, None], -torch.inf)
    if near is not None:  # (rows, queries, keys)
        logits = logits.masked_fill((~near & real[..., None])[:, None], -torch.inf)
    probabilities = logits.softmax(-1) * real[:, None, :, None]
    return (probabilities @ v).transpose(1, 2)[real].flatten(1), probabilities


def received_by(probabilities: Tensor, lengths: list[int], kind: Received) -> Tensor:
    total = probabilities.sum((1, 2))
    if kind == "without_diagonal":
        total = total - probabilities.diagonal(dim1=2, dim2=3).sum(1)
    return torch.cat([row[:n] for row, n in zip(total, lengths, strict=True)])


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@given(lengths=LENGTHS, seed=st.integers(0, 99), waste=st.sampled_from([0, 9, 1200]), piece=PIECES)
def test_attention_and_its_gradients_equal_the_padded_reference(
    kind: Received | None, biased: bool, lengths: list[int], seed: int, waste: int, piece: int
) -> None:
    """However the rows are put into blocks, and these cut into pieces."""
    query, key, value, bias = inputs(lengths, seed)
    leaves = [query, key, value, *([bias] if biased else [])]
    used = bias if biased else None
    with patch.dict(WASTE, cpu=waste), patch("tokendrop.engine.probabilities.CACHED", piece):
        layout = Layout.of(lengths)
        context, received = attend(query, key, value, layout, received=kind, key_bias=used)
        weights = torch.arange(1.0, context.numel() + 1).sin().view_as(context)
        got = torch.autograd.grad((context * weights).sum(), leaves)
    expected, probabilities = padded(query, key, value, used, lengths)
    torch.testing.assert_close(context.double(), expected, atol=1e-5, rtol=1e-5)
    if kind is None:
        assert received is None
    else:
        assert received is not None
        wanted = received_by(probabilities, lengths, kind)
        torch.testing.assert_close(received.double(), wanted, atol=1e-5, rtol=1e-5)
    wanted_gradients = torch.autograd.grad((expected * weights).sum(), leaves)
    for mine, theirs in zip(got, wanted_gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("piece", [1, 60, 1 << 19])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_knows_what_dropout_took(kind: Received | None, piece: int) -> None:
    """With a dropout that can be written down: of the probabilities below a third."""

    def small_ones(like: Tensor, _: float) -> tuple[Tensor, float]:
        return (like > 1 / 3).to(torch.int8), 1.5

    lengths = [3, 8, 8, 1]
    query, key, value, bias = inputs(lengths)
    leaves = [query, key, value, bias]
    with (
        patch("tokendrop.engine.probabilities.CACHED", piece),
        patch("tokendrop.engine.probabilities.draw", small_ones),
    ):
        context, received = attend(
            query, key, value, Layout.of(lengths), received=kind, key_bias=bias, dropout=0.1
        )
        got = torch.autograd.grad(context.sin().sum(), leaves)
    _, before = padded(query, key, value, bias, lengths)
    after = 1.5 * before * (before > 1 / 3)
    rows = [x.transpose(0, 1).double() for x in value.split(lengths)]
    expected = torch.cat(
        [
            (after[row, :, :n, :n] @ rows[row]).transpose(0, 1).flatten(1)
            for row, n in enumerate(lengths)
        ]
    )
    torch.testing.assert_close(context.double(), expected, atol=1e-5, rtol=1e-5)
    if kind is not None:
        assert received is not None
        wanted = received_by(after, lengths, kind)
        torch.testing.assert_close(received.double(), wanted, atol=1e-5, rtol=1e-5)
    for mine, theirs in zip(got, torch.autograd.grad(expected.sin().sum(), leaves), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_a_training_step_holds_one_byte_for_a_probability() -> None:
    length, held = 200, 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal held
        held += tensor.numel() * tensor.element_size()
        return tensor

    query, key, value, _ = inputs([length])
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        attend(query, key, value, Layout.of([length]), dropout=0.1)
    states = 3 * 4 * length * HEADS * SIZE
    assert HEADS * length**2 <= held < 1.5 * HEADS * length**2 + states


@pytest.mark.parametrize("cached", [1, 30, 100, 1000])
@pytest.mark.parametrize("kind", ["with_diagonal", "without_diagonal"])
def test_received_attention_does_not_depend_on_the_size_of_the_cache(
    kind: Received, cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, key, value, bias = inputs([3, 9, 9, 8, 2])
    layout = Layout.of([3, 9, 9, 8, 2])
    context, received = attend(query, key, value, layout, received=kind, key_bias=bias)
    monkeypatch.setattr("tokendrop.engine.attention.CACHED", cached)
    with torch.no_grad():
        again, counted = attend(query, key, value, layout, received=kind, key_bias=bias)
    torch.testing.assert_close(again, context)
    torch.testing.assert_close(counted, received)


@given(LENGTHS)
def test_received_attention_sums_to_heads_times_tokens(lengths: list[int]) -> None:
    layout = Layout.of(lengths)
    query, key, value, bias = inputs(lengths)
    _, received = attend(query, key, value, layout, received="with_diagonal", key_bias=bias)
    assert received is not None
    assert row_sum(received, layout).tolist() == pytest.approx([HEADS * n for n in lengths])


def test_a_lone_token_receives_nothing_from_others() -> None:
    query, key, value, _ = inputs([1, 3])
    _, received = attend(query, key, value, Layout.of([1, 3]), received="without_diagonal")
    assert received is not None
    assert received[0].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_with_a_bias_of_minus_infinity_is_gone(kind: Received | None) -> None:
    query, key, value, _ = inputs([4])
    bias = torch.tensor([0.0, 0.0, -torch.inf, 0.0])
    context, _ = attend(query, key, value, Layout.of([4]), received=kind, key_bias=bias)
    stay = torch.tensor([0, 1, 3])
    alone, _ = attend(query[stay], key[stay], value[stay], Layout.of([3]), received=kind)
    torch.testing.assert_close(context[stay], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_zeroes_probabilities_and_keeps_the_mean(kind: Received | None) -> None:
    copies = 4000
    one = [x.detach() for x in inputs([6])[:3]]
    many = [x.repeat(copies, 1, 1) for x in one]
    exact, _ = attend(*one, Layout.of([6]), received=kind)
    context, _ = attend(*many, Layout.of([6] * copies), received=kind, dropout=0.3)
    draws = context.unflatten(0, (copies, 6))
    assert (draws == 0).any()  # of a query whose keys are all dropped
    torch.testing.assert_close(draws.mean(0), exact, atol=0.2, rtol=0)


def test_received_attention_is_taken_after_dropout() -> None:
    query, key, value, _ = inputs([5])
    query, key = torch.zeros_like(query), torch.zeros_like(key)
    _, received = attend(query, key, value, Layout.of([5]), received="with_diagonal", dropout=0.5)
    assert received is not None
    # each probability is 1/5, and after dropout 0 or 2/5
    shares = received * 5 / 2
    torch.testing.assert_close(shares, shares.round())
    assert shares.unique().numel() > 1


@pytest.mark.parametrize("kind", KINDS[1:])
def test_in_half_precision_received_attention_is_summed_in_fp32(kind: Received) -> None:
    query, key, value, _ = (x.detach().bfloat16() for x in inputs([9, 9, 2]))
    layout = Layout.of([9, 9, 2])
    _, received = attend(query, key, value, layout, received=kind)
    assert received is not None
    assert received.dtype == torch.float32
    if kind == "with_diagonal":
        sums = row_sum(received, layout).tolist()
        assert sums == pytest.approx([HEADS * n for n in (9, 9, 2)], rel=1e-5)


@pytest.mark.gpu
def test_the_ragged_kernel_equals_the_reference() -> None:
    lengths = [5, 1, 64, 33, 5]
    shape = (sum(lengths), 4, 64)
    query, key, value = (torch.randn(shape, device="cuda") for _ in range(3))
    layout = Layout.of(lengths, "cuda")
    exact, _ = attend(query, key, value, layout)
    rounded, _ = attend(*(x.bfloat16() for x in (query, key, value)), layout)
    torch.testing.assert_close(rounded.float(), exact, atol=3e-2, rtol=0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("without_diagonal", (0.35, 0.75, 0.60)), ("with_diagonal", (0.95, 1.15, 0.90))],
)
def test_the_diagonal_can_change_the_ranking(kind: Received, expected: tuple[float, ...]) -> None:
    probabilities = torch.tensor([[0.6, 0.2, 0.2], [0.2, 0.4, 0.4], [0.15, 0.55, 0.3]])
    # with unit vectors as keys, a query holds its own logits
    query, key = probabilities.log()[:, None] * 3**0.5, torch.eye(3)[:, None]
    context, received = attend(query, key, key, Layout.of([3]), received=kind)
    torch.testing.assert_close(context, probabilities)
    assert received is not None
    assert received.tolist() == pytest.approx(expected)
