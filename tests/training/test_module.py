"""The training loop: schedules, objectives of groups, and what it refuses to go on with."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tokendrop.data.split import Split
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.base import Group, Reducer, Shape, Stage, Step
from tokendrop.reducers.dense import Dense
from tokendrop.tasks import SequenceClassification
from tokendrop.testing.tiny import MAX_TOKENS, packed, tiny_model, tiny_rows
from tokendrop.training.module import TokenDropModule
from tokendrop.training.objectives import backward
from tokendrop.training.schedule import learning_rate_factor

KERAS = Stage("search", 10, 1.0, warmup=0.1, schedule="keras")
LINEAR = Stage("fine_tune", 1, 1.0, warmup=0.06)


class TwoObjectives(Reducer):
    """Backbone and own scalar follow different terms; each term touches both."""

    def build(self, shape: Shape) -> None:
        self.own = nn.Parameter(torch.tensor(2.0))

    def training_passes(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        logits = step.forward().logits
        yield {
            "task": step.task_loss(step.forward()),
            "shared": logits.square().mean() * self.own,
            "backbone_only": logits.sum() * self.own,
            "own_only": logits.mean() * self.own.square(),
        }

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        weights = dict(backbone.named_parameters())
        return [
            Group("weights", weights, ignores=frozenset({"task", "own_only"})),
            Group("own", {"own": self.own}, ignores=frozenset({"task", "backbone_only"})),
        ]


def begun(reducer: Reducer, stage: Stage = LINEAR) -> TokenDropModule:
    tokenizer: Any = SimpleNamespace()
    module = TokenDropModule(Dense())
    model = TokenDropModel(tiny_model("bert"), reducer, tokenizer, MAX_TOKENS)
    module.begin(model, SequenceClassification(["a", "b", "c"]), {}, stage)
    module.model.eval()  # the gradients of two passes are compared
    module.groups = reducer.groups(stage, module.model.backbone)
    module.manual_backward = lambda loss: loss.backward()  # what it is without a trainer
    return module


@pytest.mark.parametrize(
    ("t", "factor"), [(1, 0.03125), (16, 0.5), (32, 1.0), (33, 0.896875), (320, 0.0)]
)
def test_keras_schedule_counts_steps_from_one(t: int, factor: float) -> None:
    assert learning_rate_factor(KERAS, 320)(t - 1) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0), (1, 5e-7), (30, 1.5e-5), (60, 3e-5), (61, 2.99680851e-5), (530, 1.5e-5), (1000, 0)],
)
def test_linear_schedule_starts_at_zero(step: int, rate: float) -> None:
    assert 3e-5 * learning_rate_factor(LINEAR, 1000)(step) == pytest.approx(rate, rel=1e-7)


def test_groups_follow_their_own_loss_terms_only() -> None:
    module = begun(TwoObjectives())
    reducer = module.model.reducer
    batch = packed(tiny_rows())
    step = Step(forward=lambda: module.model(batch), task_loss=module._task_loss)
    for losses in reducer.training_passes(step):
        module._backward(losses)
    own, weight = reducer.own.grad, module.model.backbone.classifier.weight.grad.clone()

    losses = next(iter(reducer.training_passes(step)))
    expected_own = torch.autograd.grad(
        losses["shared"] + losses["own_only"], reducer.own, retain_graph=True
    )[0]
    expected_weight = torch.autograd.grad(
        losses["shared"] + losses["backbone_only"], module.model.backbone.classifier.weight
    )[0]
    torch.testing.assert_close(own, expected_own)
    torch.testing.assert_close(weight, expected_weight)


def test_gradients_add_up_over_the_passes_of_a_step() -> None:
    module = begun(Dense())
    batch = packed(tiny_rows())
    step = Step(forward=lambda: module.model(batch), task_loss=module._task_loss)
    weight = module.model.backbone.classifier.weight
    module._backward(next(module.model.reducer.training_passes(step)))
    once = weight.grad.clone()
    module._backward(next(module.model.reducer.training_passes(step)))
    torch.testing.assert_close(weight.grad, 2 * once)


@pytest.mark.parametrize("ignored", [set(), {"other"}])
def test_under_autocast_a_part_in_full_precision_gets_its_gradient_in_full(
    ignored: set[str],
) -> None:
    one, other = nn.Linear(8, 30), nn.Linear(30, 1)
    loss = other(one(torch.randn(70, 8)).tanh()).square().mean()  # as reducers decide, in fp32
    parameters = {**dict(one.named_parameters()), "last": other.weight}
    expected = torch.autograd.grad(loss, parameters.values(), retain_graph=True)
    groups = [Group("own", parameters, ignores=frozenset(ignored))]
    with torch.autocast("cpu", torch.bfloat16):
        backward({"task": loss, "other": torch.zeros(())}, groups, torch.Tensor.backward)
    for parameter, gradient in zip(parameters.values(), expected, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_a_loss_that_is_not_a_number_stops_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    module = begun(Dense())
    with torch.no_grad():
        module.model.backbone.classifier.weight.fill_(torch.nan)
    monkeypatch.setattr(module, "optimizers", lambda: [])
    with pytest.raises(UserError, match=r"not a number in step 4 .*task nan.*learning rate"):
        module.training_step(packed(tiny_rows()), 3)


@pytest.mark.gpu
def test_neither_a_dense_step_nor_its_evaluation_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tiny_rows()
    module = begun(Dense())
    module.scores["dev"] = module.task.scores(
        Split([("",)] * len(rows), [r.ids for r in rows], [], [r.label for r in rows], 0)
    )
    module.to("cuda").model.train()
    optimizer = torch.optim.AdamW(module.model.parameters(), fused=True)
    monkeypatch.setattr(module, "optimizers", lambda: optimizer)
    monkeypatch.setattr(module, "lr_schedulers", lambda: [])
    for name in ("log", "log_dict"):
        monkeypatch.setattr(module, name, lambda *_, **__: None)

    def step_and_evaluation(batch: Batch) -> None:
        module.training_step(batch, 0)
        with torch.no_grad():
            module.validation_step(batch, 0)

    step_and_evaluation(packed(rows).to("cuda"))  # compiles kernels, and fills the optimiser
    batch = packed(rows).to("cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step_and_evaluation(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert 0 <= module.scores["dev"].compute()["accuracy"] <= 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reducer": "Dense"}, "reducer 'Dense' cannot be used: use a Reducer"),
        ({"reducer": Dense}, "reducer <class .*Dense'> cannot be used: use a Reducer"),
        ({"fine_tune": 2}, "fine_tune 2 cannot be used: use a Stage"),
        ({"patience": 0}, "patience 0"),
    ],
)
def test_what_it_is_made_of_is_checked(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TokenDropModule(**{"reducer": Dense(), **given})


def test_weights_that_are_frozen_are_left_alone() -> None:
    """Taking their gradient away is how many people freeze a backbone."""
    frozen, learns = nn.Linear(2, 1).requires_grad_(False), nn.Linear(2, 1)
    loss = learns(frozen.weight).sum()
    groups = [
        Group("both", {"frozen": frozen.weight, "learns": learns.weight}, ignores=frozenset({"kl"}))
    ]
    backward({"task": loss, "kl": torch.zeros(())}, groups, torch.Tensor.backward)
    assert frozen.weight.grad is None
    assert learns.weight.grad is not None
    for ignores in (frozenset[str](), frozenset({"kl"})):
        groups = [Group("none", {"frozen": frozen.weight}, ignores=ignores)]
        with pytest.raises(UserError, match=r"^no loss depends on a weight that learns"):
            backward({"task": frozen.weight.sum()}, groups, torch.Tensor.backward)
