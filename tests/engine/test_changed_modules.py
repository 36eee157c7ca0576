"""Linear layers that somebody changed answer as in Hugging Face's model: adapters, hooks, int8."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from transformers import PreTrainedModel

from tokendrop.engine import casting
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import FAMILY_NAMES, padded_forward, run, tiny_model, tiny_rows

ROWS = tiny_rows((1, 19, 12, 7, 7, 30))


class Adapter(nn.Module):
    """A layer with something of low rank beside it, as adapters have."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    @property
    def out_features(self) -> int:
        return self.base.out_features

    def forward(self, states: Tensor) -> Tensor:
        widened: Tensor = self.base(states) + self.up(self.down(states))
        return widened


def linear_layers(model: PreTrainedModel) -> list[tuple[nn.Module, str, nn.Linear]]:
    base = model.base_model
    assert isinstance(base, nn.Module)
    return [
        (module, name, child)
        for module in base.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.Linear)
    ]


def adapt(model: PreTrainedModel) -> None:
    torch.manual_seed(1)
    for parent, name, layer in linear_layers(model):
        setattr(parent, name, Adapter(layer))


def adapt_some(model: PreTrainedModel) -> None:
    # of layers that are one product otherwise, the second alone
    for parent, name, layer in linear_layers(model)[1::2]:
        setattr(parent, name, Adapter(layer))


def hook(model: PreTrainedModel) -> None:
    for _, _, layer in linear_layers(model):
        layer.register_forward_hook(lambda _, __, states: states * 1.1)


def hook_in_front(model: PreTrainedModel) -> None:
    for _, _, layer in linear_layers(model):
        layer.register_forward_pre_hook(lambda _, states: (states[0] * 0.9,))


def normalise(model: PreTrainedModel) -> None:
    for _, _, layer in linear_layers(model):
        parametrizations.weight_norm(layer)
        layer.parametrizations.weight.original0.data.mul_(1.2)


@contextmanager
def in_bf16() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        patch.setattr(casting, "DEVICES", {"cpu"})
        yield


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("change", [adapt, adapt_some, hook, hook_in_front, normalise])
@pytest.mark.parametrize("way", [nullcontext, in_bf16])
def test_answers_are_those_of_the_changed_model(
    way: Callable[[], nullcontext[None]], change: Callable[[PreTrainedModel], None], family: str
) -> None:
    model = tiny_model(family)
    with way():
        for _ in range(3):  # weights in another order are there before it is changed
            before = run(model, Dense(), ROWS).logits
        change(model)
        after = [run(model, Dense(), ROWS).logits for _ in range(3)]
        expected, _ = padded_forward(model, ROWS)
    close = 0.1 if way is in_bf16 else 1e-4
    assert not torch.allclose(before.float(), expected.float(), atol=close)
    for logits in after:
        torch.testing.assert_close(logits.float(), expected.float(), atol=close, rtol=close)
