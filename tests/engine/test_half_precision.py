"""A backbone with weights in bf16: methods decide in fp32, and their numbers meet its states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tokendrop.engine import parts
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import CLASSES, built, packed, tiny_model, tiny_rows


class Softened(Reducer):
    """Uses every kind of number that a decision may hold, made by weights of its own in fp32."""

    received = "with_diagonal"

    def before_layer(self, view: View) -> Decision:
        return Decision(key_bias=self._score(view.hidden))

    def after_attention(self, view: View) -> Decision:
        assert view.keys is not None
        assert view.received is not None
        scores = self._score(view.keys.flatten(1).float()) + view.received
        return Decision(scale=1 + 0.01 * scores.tanh())

    def after_layer(self, view: View) -> Decision:
        assert view.hidden.dtype == view.cls.dtype == torch.float32
        leave = view.layout.sizes > 10
        return Decision(
            scale=torch.full((len(view.hidden),), 1.01), leave=leave, answer=view.cls[:, :CLASSES]
        )

    def _score(self, states: torch.Tensor) -> torch.Tensor:
        return states @ torch.full((states.shape[1],), 1 / 32)


def test_decisions_in_fp32_meet_states_in_bf16() -> None:
    rows = tiny_rows()
    exact, half = tiny_model("bert"), tiny_model("bert").to(torch.bfloat16)
    with torch.no_grad():
        first, other = (encode(x, packed(rows), built(Softened())).logits for x in (exact, half))
    assert other.dtype == torch.float32
    torch.testing.assert_close(other, first, atol=0.1, rtol=0.1)


class Products(TorchDispatchMode):
    """Notes how many rows each matrix product has."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.addmm.default:
            self.rows.add(len(args[1]))
        return func(*args, **(kwargs or {}))


def test_training_makes_products_of_few_sizes_and_learns_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """oneDNN keeps half a megabyte for each number of rows: a long training filled the memory."""
    batches = [packed(tiny_rows([20, 31, n % 30 + 1, n // 2 + 1])) for n in range(60)]

    def trained(batches: Sequence[Batch]) -> tuple[list[Tensor], set[int]]:
        model = tiny_model(
            "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        ).train()
        with torch.autocast("cpu", torch.bfloat16), Products() as products:
            for batch in batches:
                encode(model, batch, built(Dense())).logits.float().square().sum().backward()
        gradients = [x.grad for x in model.parameters() if x.grad is not None]
        return gradients, products.rows

    gradients, rows = trained(batches)
    assert len({len(batch.input_ids) for batch in batches}) > 30
    assert len(rows) < 20
    monkeypatch.setattr(parts, "prepares_itself", lambda hidden: False)
    plain, every = trained(batches)
    assert len(every) > 30
    for one, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02 * float(other.abs().max()))
