"""Saliency top-k: a predictor learns what gradient x input says of the training rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from baselines import SaliencyTopK
from tokendrop.engine.encoder import encode
from tokendrop.errors import UserError
from tokendrop.reducers.base import Reducer, StageContext
from tokendrop.tasks import SequenceClassification
from tokendrop.testing.tiny import built, packed, run, tiny_model, tiny_rows
from tokendrop.training.saliency import batch_saliency


def KEEPS_ALL() -> Reducer:
    return SaliencyTopK(ratio=1.0)


DROPS: dict[str, Callable[[], Reducer]] = {
    "half": lambda: SaliencyTopK(ratio=0.5),
    "counts": lambda: SaliencyTopK(configuration=[12, 8, 3]),
}
SOFT_EQUALS_HARD = "nothing is softened"


def test_it_learns_to_keep_the_most_salient_tokens() -> None:
    model, rows = tiny_model("bert"), tiny_rows([20] * 12)
    batch = packed(rows)
    saliency = batch_saliency(model, batch, SequenceClassification(["a", "b", "c"]).gold)
    reducer = built(SaliencyTopK(ratio=0.25)).train()
    (stage,) = reducer.stages()
    lengths = torch.tensor(batch.layout.lengths)
    reducer.enter(stage, StageContext(lengths, 1, saliency=lambda: list(saliency.split(20))))

    def kept_saliency() -> float:
        with torch.no_grad():
            kept = encode(model, batch, reducer.eval()).trace.layers[0].feed_forward.tokens
        reducer.train()
        return float(saliency[kept].sum())

    best = saliency.view(12, 20)[:, 1:].topk(4).values.sum() + saliency.view(12, 20)[:, 0].sum()
    before = kept_saliency()
    optimizer = torch.optim.Adam(reducer.parameters(), lr=0.01)
    losses = []
    for _ in range(150):
        loss = reducer.losses(encode(model, batch, reducer))["saliency"]
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]
    assert kept_saliency() > 0.95 * best > before


def test_the_backbone_does_not_follow_the_predictors() -> None:
    model, reducer = tiny_model("bert"), built(SaliencyTopK(ratio=0.5)).train()
    batch = packed(tiny_rows())
    given: list[Tensor] = [torch.rand(n) for n in batch.layout.lengths]
    (stage,) = reducer.stages()
    reducer.enter(
        stage, StageContext(torch.tensor(batch.layout.lengths), 1, saliency=lambda: given)
    )
    reducer.losses(encode(model, batch, reducer))["saliency"].backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    reducer.leave(stage, {})
    assert reducer.losses(run(model, reducer, tiny_rows())) == {}


def test_it_needs_saliencies() -> None:
    reducer = built(SaliencyTopK())
    with pytest.raises(UserError, match="needs saliencies"):
        reducer.enter(reducer.stages()[0], StageContext(torch.tensor([4]), 1))
