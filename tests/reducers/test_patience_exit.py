"""Patience exit: rows leave when layers agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines import EntropyExit, PatienceExit
from tokendrop.engine.encoder import encode
from tokendrop.errors import UserError
from tokendrop.reducers import measured_in_training
from tokendrop.reducers.base import Reducer, Shape, StageContext, Step
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import (
    LAYERS,
    built,
    packed,
    padded_forward,
    run,
    tiny_model,
    tiny_rows,
)


def KEEPS_ALL() -> Reducer:
    return PatienceExit(patience=LAYERS)


class Alike(PatienceExit):
    """With one classifier for all ramps, so that random ones agree now and then."""

    def build(self, shape: Shape) -> None:
        super().build(shape)
        first, *others = self.ramps.heads
        for head in others:
            head.load_state_dict(first.state_dict())


DROPS: dict[str, Callable[[], Reducer]] = {
    "one": lambda: Alike(patience=1),
    "mean": lambda: Alike(patience=1, pooling="mean"),
}
SOFT_EQUALS_HARD = "nothing is softened"
ROWS = tiny_rows()


def answers_of(reducer: PatienceExit, layer: int, states: Tensor) -> Tensor:
    """A ramp's answers, written out: the one pooler, tanh, the layer's classifier."""
    (pooler,) = reducer.ramps.poolers
    head = reducer.ramps.heads[layer]
    return torch.tanh(states @ pooler.weight.T + pooler.bias) @ head.weight.T + head.bias


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_a_row_leaves_after_so_many_agreements(patience: int) -> None:
    model = tiny_model("bert", num_hidden_layers=5)
    reducer = built(Alike(patience=patience), seed=2, layers=5)
    whole, states = padded_forward(model, ROWS)
    first = packed(ROWS).layout.first
    with torch.no_grad():
        answers = [answers_of(reducer, i, states[i][first]) for i in range(4)]
    expected, depth = [], []
    for row in range(len(ROWS)):
        classes = [int(answer[row].argmax()) for answer in answers]
        agreed = [
            layer
            for layer in range(patience, 4)
            if len(set(classes[layer - patience : layer + 1])) == 1
        ]
        expected.append(answers[agreed[0]][row] if agreed else whole[row])
        depth.append(agreed[0] + 1 if agreed else 5)
    encoded = run(model, reducer, ROWS)
    assert encoded.trace.row_depth().tolist() == depth
    assert len(set(depth)) > 1
    torch.testing.assert_close(encoded.logits, torch.stack(expected), atol=1e-5, rtol=0)


def test_with_one_output_answers_agree_within_the_tolerance() -> None:
    model, rows = tiny_model("bert", num_labels=1), tiny_rows([9] * 8)
    reducer = built(PatienceExit(patience=1), classes=1)
    _, states = padded_forward(model, rows)
    first = packed(rows).layout.first
    with torch.no_grad():
        one, two = (answers_of(reducer, i, states[i][first]).squeeze(-1) for i in range(2))
    apart = (one - two).abs()
    reducer.tolerance = float(apart.sort().values[3:5].mean())
    near = apart < reducer.tolerance
    assert int(near.sum()) == 4
    encoded = run(model, reducer, rows)
    assert encoded.trace.row_depth().tolist() == [2 if n else LAYERS for n in near.tolist()]
    torch.testing.assert_close(encoded.logits[near, 0], two[near], atol=1e-5, rtol=0)


def test_later_layers_weigh_more() -> None:
    model, batch = tiny_model("bert"), packed(ROWS)
    reducer = built(PatienceExit()).train()
    step = Step(
        lambda: encode(model, batch, reducer),
        lambda encoded: F.cross_entropy(encoded.logits, batch.labels),
    )
    (losses,) = reducer.training_passes(step)
    whole, states = padded_forward(model, ROWS)
    ramp = answers_of(reducer, 1, states[1][batch.layout.first])
    torch.testing.assert_close(losses["layer_2"], 2 / 6 * F.cross_entropy(ramp, batch.labels))
    torch.testing.assert_close(losses["layer_3"], 3 / 6 * F.cross_entropy(whole, batch.labels))


def test_regression_trains_every_layer_on_the_tasks_own_loss() -> None:
    model = tiny_model("bert", num_labels=1)
    batch = replace(packed(ROWS), labels=torch.linspace(0, 5, len(ROWS)))
    reducer = built(PatienceExit(), classes=1).train()
    step = Step(
        lambda: encode(model, batch, reducer),
        lambda encoded: F.mse_loss(encoded.logits.squeeze(-1), batch.labels),
    )
    (losses,) = reducer.training_passes(step)
    assert len(losses) == LAYERS
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad.any() for parameter in reducer.parameters())


def test_the_best_epoch_is_that_of_all_layers() -> None:
    # a seed with which some layers agree
    model, reducer = tiny_model("bert"), built(PatienceExit(patience=1), seed=1)
    (stage,) = reducer.stages()
    reducer.enter(stage, StageContext(torch.tensor([4]), 1))
    assert run(model, reducer, ROWS).trace.row_depth().eq(LAYERS).all()
    reducer.leave(stage, {})
    assert run(model, reducer, ROWS).trace.row_depth().lt(LAYERS).any()
    # so the numbers of that epoch are not those of its patience
    assert not measured_in_training(PatienceExit())
    assert not measured_in_training(Chain([Dense(), PatienceExit()]))
    assert measured_in_training(EntropyExit())
    assert not measured_in_training(EntropyExit(threshold=0.7))


def test_there_is_a_layer_to_leave_behind() -> None:
    for reducer in (PatienceExit(), EntropyExit()):
        with pytest.raises(UserError, match="this backbone has 1 layer: take one with 2 or more"):
            built(reducer, layers=1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"patience": 0}, "PatienceExit.patience 0 is too small"),
        ({"tolerance": 0.0}, "PatienceExit.tolerance 0.0 is out of range"),
    ],
)
def test_what_does_not_fit(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        PatienceExit(**arguments)
