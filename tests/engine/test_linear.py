"""Reordered weights give the layer's own answers, before and after it has been trained."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tokendrop.engine.linear import linear, linears


def train(layer: nn.Linear, states: Tensor, fused: bool) -> None:
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused)
    layer(states).square().sum().backward()
    optimizer.step()


def train_without_the_first(layer: nn.Linear, states: Tensor) -> None:
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.0, fused=True)
    layer(states)[:, 1:].square().sum().backward()
    optimizer.step()


def write_a_head(layer: nn.Linear, states: Tensor) -> None:
    layer.weight.data[8:16] = 0


def write_an_input(layer: nn.Linear, states: Tensor) -> None:
    layer.weight.data[:, 3] = 0


def write(layer: nn.Linear, states: Tensor) -> None:
    layer.weight.data.mul_(2)


def replace(layer: nn.Linear, states: Tensor) -> None:
    layer.weight = nn.Parameter(torch.randn_like(layer.weight))


def load(layer: nn.Linear, states: Tensor) -> None:
    layer.load_state_dict(nn.Linear(layer.in_features, layer.out_features).state_dict())


def prune(layer: nn.Linear, states: Tensor) -> None:
    with torch.no_grad():
        layer.weight[-1] = 0


@given(st.integers(1, 40), st.integers(1, 70), st.integers(1, 300), st.booleans())
def test_it_is_the_layer(wide: int, out: int, tokens: int, bias: bool) -> None:
    layer, states = nn.Linear(wide, out, bias=bias), torch.randn(tokens, wide)
    with torch.no_grad():
        torch.testing.assert_close(linear(layer, states), layer(states), atol=1e-5, rtol=1e-5)
    expected = torch.autograd.grad(layer(states).sum(), layer.weight)
    assert torch.equal(torch.autograd.grad(linear(layer, states).sum(), layer.weight)[0], *expected)


@pytest.mark.parametrize("bias", [True, False])
def test_several_layers_at_once_are_the_layers(bias: bool) -> None:
    layers = [nn.Linear(8, width, bias=bias) for width in (6, 3, 9)]
    states = torch.randn(5, 8)
    with torch.no_grad():
        for mine, layer in zip(linears(layers, states), layers, strict=True):
            torch.testing.assert_close(mine, layer(states))
        layers[-1].weight.mul_(2)
        torch.testing.assert_close(linears(layers, states)[-1], layers[-1](states))


@pytest.mark.parametrize(
    "change",
    [
        lambda layer, states: train(layer, states, fused=False),
        lambda layer, states: train(layer, states, fused=True),
        train_without_the_first,
        write,
        write_a_head,
        write_an_input,
        replace,
        load,
        prune,
    ],
)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_follows_every_change_of_the_weights(
    change: Callable[[nn.Linear, Tensor], None], mode: Callable[[], torch.no_grad]
) -> None:
    layer, states = nn.Linear(8, 40), torch.randn(5, 8)
    with mode():
        before = linear(layer, states)
    change(layer, states)
    with mode():
        after = linear(layer, states)
        torch.testing.assert_close(after, layer(states))
    assert not torch.allclose(before, after)


def test_no_tokens_give_no_states() -> None:
    with torch.inference_mode():
        assert linear(nn.Linear(4, 3), torch.empty(0, 4)).shape == (0, 3)
