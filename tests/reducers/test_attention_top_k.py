"""Attention top-k, the score of PoWER-BERT and Length-Adaptive with nothing learned."""

from __future__ import annotations

from collections.abc import Callable

import torch

from baselines import AttentionTopK
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.testing.tiny import built, packed, run, tiny_model, tiny_rows


def KEEPS_ALL() -> Reducer:
    return AttentionTopK(ratio=1.0)


DROPS: dict[str, Callable[[], Reducer]] = {
    "half": lambda: AttentionTopK(ratio=0.5),
    "counts": lambda: AttentionTopK(configuration=[12, 8, 3]),
}
SOFT_EQUALS_HARD = "nothing is softened"


def test_it_keeps_what_hugging_face_attends_to() -> None:
    model, (row,) = tiny_model("bert", attn_implementation="eager"), tiny_rows([16])
    model.set_attn_implementation("eager")
    batch = packed([row])
    with torch.no_grad():
        found = model(
            input_ids=batch.input_ids[None],
            token_type_ids=batch.token_type_ids[None],
            output_attentions=True,
        )
    received = found.attentions[0][0].sum((0, 1))
    received[0] = torch.inf
    trace = run(model, built(AttentionTopK(ratio=0.5)), [row]).trace
    assert (
        trace.layers[0].feed_forward.tokens.tolist() == received.topk(8).indices.sort()[0].tolist()
    )


def test_with_the_counts_of_length_adaptive_it_is_length_adaptive() -> None:
    model, rows = tiny_model("bert"), tiny_rows()
    one = run(model, built(AttentionTopK(configuration=[12, 8, 3])), rows)
    other = run(model, built(LengthAdaptive(configuration=[12, 8, 3])), rows)
    assert torch.equal(one.logits, other.logits)
