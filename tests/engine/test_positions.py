"""Attention by the places that tokens came in with, against the padded reference."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from tests.engine.test_attention import (
    HEADS,
    KINDS,
    LENGTHS,
    PIECES,
    inputs,
    padded,
    received_by,
)
from tokendrop.engine.attention import attend
from tokendrop.engine.blocks import WASTE
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.engine.positions import RelativeBias, SlidingWindow
from tokendrop.engine.probabilities import Received

REACHES = st.integers(0, 12)


def gapped(lengths: list[int], seed: int) -> tuple[Batch, Layout]:
    """Rows that lost every token but these many, their first one excepted."""
    generator = torch.Generator().manual_seed(seed)
    starts = [2 * n for n in lengths]
    keep = torch.cat(
        [
            torch.isin(
                torch.arange(start),
                torch.cat(
                    [torch.zeros(1), 1 + torch.randperm(start - 1, generator=generator)[: n - 1]]
                ),
            )
            for start, n in zip(starts, lengths, strict=True)
        ]
    )
    batch = Batch.pack([[0] * start for start in starts])
    return batch, batch.layout.keep(keep)[1]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@given(lengths=LENGTHS, seed=st.integers(0, 99), waste=st.sampled_from([0, 9, 1200]), reach=REACHES)
def test_a_window_counts_the_positions_that_tokens_came_in_with(
    kind: Received | None, biased: bool, lengths: list[int], seed: int, waste: int, reach: int
) -> None:
    with patch.dict(WASTE, cpu=waste):
        batch, layout = gapped(lengths, seed)
        lengths = list(layout.lengths)
        query, key, value, bias = inputs(lengths, seed)
        leaves = [query, key, value, *([bias] if biased else [])]
        used = bias if biased else None
        window = SlidingWindow.of(reach, batch, layout)
        context, received = attend(
            query, key, value, layout, received=kind, key_bias=used, window=window
        )
        with torch.no_grad():
            fast, _ = attend(query, key, value, layout, key_bias=used, window=window)
    positions = batch.positions[layout.tokens].split(lengths)
    places = pad_sequence(list(positions), batch_first=True)
    near = (places[:, :, None] - places[:, None]).abs() <= reach
    expected, probabilities = padded(query, key, value, used, lengths, near)
    for found in (context, fast):
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    if kind is not None:
        assert received is not None
        wanted = received_by(probabilities, lengths, kind)
        torch.testing.assert_close(received.double(), wanted, atol=1e-5, rtol=1e-5)
    weights = torch.arange(1.0, context.numel() + 1).sin().view_as(context)
    got = torch.autograd.grad((context * weights).sum(), leaves)
    wanted_gradients = torch.autograd.grad((expected * weights).sum(), leaves)
    for mine, theirs in zip(got, wanted_gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS[:2])
@settings(max_examples=30)
@given(
    lengths=LENGTHS,
    seed=st.integers(0, 99),
    waste=st.sampled_from([0, 9, 1200]),
    piece=PIECES,
    whole=st.booleans(),
)
def test_relative_positions_are_those_that_tokens_came_in_with(
    kind: Received | None, lengths: list[int], seed: int, waste: int, piece: int, whole: bool
) -> None:
    with (
        patch.dict(WASTE, cpu=waste),
        patch("tokendrop.engine.probabilities.CACHED", piece),
        patch("tokendrop.engine.attention.CACHED", piece),
    ):
        batch, layout = gapped(lengths, seed)
        if whole:
            batch = Batch.pack([[0] * n for n in lengths])
            layout = batch.layout
        lengths = list(layout.lengths)
        query, key, value, bias = inputs(lengths, seed)
        bucket = torch.arange(-max(batch.spans), max(batch.spans) + 1).clamp(-3, 2) + 3
        weight = torch.randn(HEADS, 6, requires_grad=True)
        asked: dict[str, Any] = {"received": kind, "key_bias": bias}
        relative = RelativeBias(weight, bucket.int(), batch)
        context, received = attend(query, key, value, layout, relative=relative, **asked)
        weights = torch.arange(1.0, context.numel() + 1).sin().view_as(context)
        leaves = [query, key, value, bias, weight]
        got = torch.autograd.grad((context * weights).sum(), leaves)
        with torch.no_grad():
            relative = RelativeBias(weight, bucket.int(), batch)
            fast, again = attend(query, key, value, layout, relative=relative, **asked)
            plain, _ = attend(query, key, value, layout, relative=relative, key_bias=bias)
    places = pad_sequence(list(batch.positions[layout.tokens].split(lengths)), batch_first=True)
    distances = places[:, None] - places[:, :, None]
    apart = weight[:, distances.clamp(-3, 2) + 3].transpose(0, 1)
    expected, probabilities = padded(query, key, value, bias, lengths, apart=apart)
    for found in (context, fast, plain):
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    if kind is not None:
        wanted = received_by(probabilities, lengths, kind)
        for votes in (received, again):
            assert votes is not None
            torch.testing.assert_close(votes.double(), wanted, atol=1e-5, rtol=1e-5)
    wanted_gradients = torch.autograd.grad((expected * weights).sum(), leaves)
    for mine, theirs in zip(got, wanted_gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_in_rows_that_are_much_longer(kind: Received | None) -> None:
    """Whole blocks of keys are out of sight."""
    lengths = [700, 1300, 4]
    batch = Batch.pack([[0] * n for n in lengths])
    query, key, value, _ = (x.detach() for x in inputs(lengths))
    window = SlidingWindow.of(3, batch, batch.layout)
    context, received = attend(query, key, value, batch.layout, received=kind, window=window)
    places = torch.arange(max(lengths))
    near = ((places[:, None] - places).abs() <= 3).expand(len(lengths), -1, -1)
    expected, probabilities = padded(query, key, value, None, lengths, near)
    torch.testing.assert_close(context.double(), expected, atol=1e-5, rtol=1e-5)
    if kind is not None:
        assert received is not None
        wanted = received_by(probabilities, lengths, kind)
        torch.testing.assert_close(received.double(), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("dropping", [False, True])
def test_a_window_in_half_precision_on_a_gpu(dropping: bool) -> None:
    """The ragged kernel where no token is gone; it would count those that are left."""
    batch = Batch.pack([[0] * n for n in (5, 1, 200, 33, 90)]).to("cuda")
    layout = batch.layout
    if dropping:
        layout = layout.keep(layout.is_first | (batch.positions % 3 == 1))[1]
    shape = (len(layout.tokens), 4, 64)
    query, key, value = (torch.randn(shape, device="cuda") for _ in range(3))
    window = SlidingWindow.of(16, batch, layout)
    exact, _ = attend(query, key, value, layout, window=window)
    rounded, _ = attend(*(x.bfloat16() for x in (query, key, value)), layout, window=window)
    torch.testing.assert_close(rounded.float(), exact, atol=3e-2, rtol=0)
