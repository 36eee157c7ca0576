"""A backbone with weights in bf16: methods decide in fp32, and their numbers meet its states."""

from __future__ import annotations

import torch

from tokendrop.engine.encoder import encode
from tokendrop.reducers.base import Decision, Reducer, View
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
