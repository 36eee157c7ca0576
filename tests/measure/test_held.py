"""What the tensors of a pass take at once, against sums by hand."""

from __future__ import annotations

import torch

from tokendrop.measure.held import peak_mib

MIB = 2**20 // 4  # floats


def test_what_is_alive_together_counts_together() -> None:
    states = torch.zeros(MIB)

    def one_after_the_other() -> None:
        result = states
        for _ in range(5):
            result = result + 1  # the one before is alive until this one is there

    def kept() -> list[torch.Tensor]:
        return [states + i for i in range(5)]

    with torch.inference_mode():
        assert peak_mib(one_after_the_other) == 2
        assert peak_mib(kept) == 5


def test_views_and_what_was_there_before_take_nothing() -> None:
    states = torch.zeros(MIB)
    assert peak_mib(lambda: states.view(4, -1)[1:].t()) == 0
    assert peak_mib(lambda: states.add_(1)) == 0


def test_a_layer_takes_its_inner_states() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.GELU(), torch.nn.Linear(64, 8))
    rows = torch.zeros(MIB // 64, 8)
    with torch.inference_mode():
        # before and after the activation: two times the wide states
        assert peak_mib(lambda: layer(rows)) == 2
