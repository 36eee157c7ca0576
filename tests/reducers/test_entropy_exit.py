"""Entropy exit: rows leave at the first ramp that is sure."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import entropy as scipy_entropy
from torch import Tensor

from baselines import EntropyExit
from tokendrop.engine.encoder import encode
from tokendrop.errors import UserError
from tokendrop.reducers.base import Reducer, StageContext, Step
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import (
    CLASSES,
    LAYERS,
    built,
    packed,
    padded_forward,
    run,
    tiny_model,
    tiny_rows,
)

SOME = 0.98  # of ln(classes): some rows of the tiny models leave early, some do not


def KEEPS_ALL() -> Reducer:
    return EntropyExit(threshold=0.0)


DROPS: dict[str, Callable[[], Reducer]] = {
    "some": lambda: EntropyExit(threshold=0.99),
    "mean": lambda: EntropyExit(threshold=0.99, pooling="mean"),
    "all": lambda: EntropyExit(threshold=1.0),
}
SOFT_EQUALS_HARD = "nothing is softened"
ROWS = tiny_rows()


def answers_of(reducer: EntropyExit, layer: int, states: Tensor) -> Tensor:
    """A ramp's answers, written out: pooler, tanh, classifier."""
    pooler, head = reducer.ramps.poolers[layer], reducer.ramps.heads[layer]
    return torch.tanh(states @ pooler.weight.T + pooler.bias) @ head.weight.T + head.bias


def passes(reducer: Reducer) -> list[dict[str, Tensor]]:
    """The passes of a training step on the tiny rows."""
    model, batch = tiny_model("bert"), packed(ROWS)
    assert batch.labels is not None
    step = Step(
        lambda: encode(model, batch, reducer),
        lambda encoded: F.cross_entropy(encoded.logits, batch.labels),
    )
    return list(reducer.training_passes(step))


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_rows_leave_where_their_entropy_falls_below_the_threshold(family: str) -> None:
    model = tiny_model(family)
    reducer = built(EntropyExit(threshold=SOME))
    _, states = padded_forward(model, ROWS)
    whole, _ = padded_forward(model, ROWS)
    first = packed(ROWS).layout.first
    expected, depth = whole.clone(), [LAYERS] * len(ROWS)
    for layer in reversed(range(LAYERS - 1)):
        with torch.no_grad():
            answer = answers_of(reducer, layer, states[layer][first])
        entropy = torch.tensor(scipy_entropy(answer.double().softmax(-1), axis=-1))
        sure = entropy / math.log(CLASSES) < SOME
        expected[sure] = answer[sure]
        depth = [layer + 1 if s else d for s, d in zip(sure.tolist(), depth, strict=True)]
    encoded = run(model, reducer, ROWS)
    assert encoded.trace.row_depth().tolist() == depth
    assert len(set(depth)) > 1
    torch.testing.assert_close(encoded.logits, expected, atol=1e-5, rtol=0)


def test_below_the_largest_entropy_nobody_stays() -> None:
    encoded = run(tiny_model("bert"), built(EntropyExit(threshold=1.0)), ROWS)
    assert encoded.trace.row_depth().eq(1).all()
    assert encoded.trace.head_states == 0


def test_the_ramps_learn_on_a_frozen_backbone() -> None:
    model, batch = tiny_model("bert"), packed(ROWS)
    reducer = built(EntropyExit()).train()
    (losses,) = passes(reducer)
    assert list(losses) == ["ramp_1", "ramp_2"]
    # each is the task's loss of that ramp's answers, rows in the order of the batch
    _, states = padded_forward(model, ROWS)
    answers = answers_of(reducer, 1, states[1][batch.layout.first])
    torch.testing.assert_close(losses["ramp_2"], F.cross_entropy(answers, batch.labels))
    (group,) = reducer.groups(reducer.stages()[0], model)
    assert set(group.parameters) == {f"reducer.{name}" for name, _ in reducer.named_parameters()}


def test_a_ramps_pooler_begins_as_the_pretrained_one() -> None:
    reducer = built(EntropyExit())
    (stage,) = reducer.stages()
    weight, bias = torch.randn(32, 32), torch.randn(32)
    setting = StageContext(torch.tensor([8]), 10, pretrained_pooler=lambda: (weight, bias))
    reducer.enter(stage, setting)
    for pooler in reducer.ramps.poolers:
        assert torch.equal(pooler.weight, weight)
        assert torch.equal(pooler.bias, bias)
    drawn = built(EntropyExit(), seed=1)
    before = {name: value.clone() for name, value in drawn.state_dict().items()}
    drawn.enter(stage, StageContext(torch.tensor([8]), 10))
    assert all(torch.equal(value, before[name]) for name, value in drawn.state_dict().items())


def test_in_a_chain_its_ramps_learn_in_its_own_stage() -> None:
    reducer = built(Chain([PowerBert(configuration=[12, 8, 3]), EntropyExit()])).train()
    terms = []
    for stage in reducer.stages():
        reducer.enter(stage, StageContext(lengths=torch.tensor([8]), steps=10))
        (losses,) = passes(reducer)
        terms.append(set(losses))
        reducer.leave(stage, {})
    assert terms == [{"task"}, {"ramp_1_1", "ramp_2_1"}]
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad.any() for parameter in reducer.parts[1].parameters())


@pytest.mark.parametrize(
    ("reducer", "sizes", "complaint"),
    [
        (EntropyExit(), {"classes": 1}, "at least 2 classes"),
    ],
)
def test_what_does_not_fit(reducer: Reducer, sizes: dict[str, int], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        built(reducer, **sizes)
