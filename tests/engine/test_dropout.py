"""Dropout has the rate, the mean and the gradient that it should have."""

from __future__ import annotations

import pytest
import torch

from tokendrop.engine.dropout import dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_rate_mean_and_independence(probability: float) -> None:
    torch.manual_seed(0)
    ones = torch.ones(500, 1001)
    out = dropout(ones, probability, training=True)
    assert (out == 0).float().mean().item() == pytest.approx(probability, abs=3e-3)
    assert out.mean().item() == pytest.approx(1, abs=0.02)
    # each sixteen bits of a drawn number decide alike, and neighbours do not agree
    gone = (out == 0).flatten()[: 4 * 125_000].view(-1, 4).float()
    assert gone.mean(0).tolist() == pytest.approx([probability] * 4, abs=5e-3)
    assert torch.corrcoef(gone.T)[0, 1:].abs().max() < 0.02


def test_the_gradient_is_that_of_what_stayed() -> None:
    states = torch.randn(40, 7, requires_grad=True)
    out = dropout(states, 0.3, training=True)
    (gradient,) = torch.autograd.grad(out.sum(), states)
    torch.testing.assert_close(gradient * states.detach(), out.detach())


def test_it_repeats_with_a_seed_and_rests_in_evaluation() -> None:
    states = torch.randn(9, 5)
    torch.manual_seed(3)
    first = dropout(states, 0.5, training=True)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(states, 0.5, training=True))
    assert dropout(states, 0.5, training=False) is states
    assert dropout(states, 0.0, training=True) is states
    assert not dropout(states, 1.0, training=True).any()
