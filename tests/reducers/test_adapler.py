"""AdapLeR against hand-computed numbers, and what its two objectives may and may not touch."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tokendrop.engine.by_row import row_sum
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded, Trace
from tokendrop.errors import UserError
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.adapler import AdapLeR, Pass
from tokendrop.reducers.base import Reducer, Shape, StageContext, Step, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.contributions import ContributionPredictor
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.reducers.soft_removal.soften import edit
from tokendrop.tasks import SequenceClassification
from tokendrop.testing.tiny import (
    HIDDEN,
    LAYERS,
    MAX_TOKENS,
    built,
    packed,
    padded_forward,
    run,
    tiny_model,
    tiny_rows,
    tiny_shape,
)
from tokendrop.training.module import TokenDropModule

ROWS = tiny_rows()


class KeepsAll(AdapLeR):
    """Every score is above every threshold."""

    def build(self, shape: Shape) -> None:
        super().build(shape)
        self.eta.data.fill_(1e-10)


class Drops(AdapLeR):
    """Thresholds close to the uniform share, and scores that differ."""

    def build(self, shape: Shape) -> None:
        super().build(shape)
        self.eta.data.fill_(0.8)
        for predictor in self.contribution_predictors:
            predictor.score.weight.data.mul_(40)


KEEPS_ALL = KeepsAll
DROPS: dict[str, Callable[[], Reducer]] = {
    "peaked": Drops,
    "shared": lambda: Drops(share_predictor=True),
}
NO_GRADIENT = r"contribution_predictors\.\d+\.score\.bias"  # shifts all logits of a row alike


def SOFT_EQUALS_HARD() -> tuple[Reducer, Reducer]:
    """The same weights; a fall from the threshold that is a step removes what it hits."""
    soft, hard = built(Drops()), built(Drops())
    soft.sharpness.fill_(1e20)
    return soft.train(), hard


# -- a driver for prescribed predictors ---------------------------------------------------------

LOGITS = ((1, 0, 2, -3, 0.5, -4), (0.5, -2, 1.5, 0, -3, 0))
ETA = (0.25, 0.5)
SALIENCY = torch.tensor([0.2, 0.1, 0.4, 0.05, 0.15, 0.1]) * 3.7


class Prescribed(nn.Module):
    """Answers each token, whose state is its place in the batch, with a given number."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, states: Tensor) -> Tensor:
        return self.logits[states[:, 0].long()]


def toy(sharpness: float, cls_row: bool = False) -> tuple[AdapLeR, Batch]:
    """Six tokens and two layers, if asked for with a row of [CLS] alone behind it."""
    reducer = AdapLeR(contribution_weight=1, length_weight=1)
    reducer.build(tiny_shape(layers=2))
    reducer.eta.data.copy_(torch.tensor(ETA))
    reducer.sharpness.fill_(sharpness)
    rows = [[0] * 6, [0]] if cls_row else [[0] * 6]
    saliencies = [SALIENCY, torch.tensor([0.7])]
    begin(reducer, saliencies)
    for layer, logits in enumerate(LOGITS):
        values = torch.tensor([*logits, 0.3] if cls_row else logits)
        reducer.contribution_predictors[layer] = Prescribed(values)
    return reducer.train(), Batch.pack(rows, examples=range(len(rows)))


def begin(reducer: AdapLeR, saliencies: list[Tensor], score: float = 0.9) -> None:
    lengths = torch.tensor([len(row) for row in saliencies])
    context = StageContext(lengths, 10, fine_tuned_score=score, saliency=lambda: saliencies)
    reducer.enter(reducer.stages()[0], context)


def drive(reducer: AdapLeR, batch: Batch) -> tuple[Pass, list[list[int]]]:
    """A pass through the layers' decisions alone, and the tokens alive behind each of them."""
    memory, layout, alive = reducer.start(batch), batch.layout, []
    for layer in range(len(reducer.eta)):
        view = View(layer, len(reducer.eta), layout, layout.tokens[:, None], memory, batch)
        decision = reducer.before_layer(view)
        if decision is not None and decision.keep is not None:
            _, layout = layout.keep(decision.keep)
        alive.append(sorted(layout.tokens.tolist()))
    return memory, alive


def losses(reducer: AdapLeR, memory: Pass, batch: Batch) -> dict[str, Tensor]:
    rows = torch.zeros(len(batch), 2)
    return reducer.losses(Encoded(batch, rows, Trace(batch.layout), memory))


def close(found: Tensor, expected: Sequence[float], tolerance: float = 1e-6) -> None:
    expected = torch.tensor(expected)
    torch.testing.assert_close(found.detach(), expected, atol=tolerance, rtol=tolerance)


# -- hand-computed numbers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sharpness", "expected"),
    [
        (10, (-10.01, -5.01, -0.21, -0.01, -0.00947368, -0.00526316, 0)),
        (1e3, (-1000.0001, -500.0001, -20.0001, -1e-4, -9.473684e-5, -5.263157e-5, 0)),
        (1e5, (-10000, -10000, -2000.000001, -1e-6, -9.473684e-7, -5.263157e-7, 0)),
        (1e20, (-10000, -10000, -10000.0, 0, 0, 0, 0)),
    ],
)
def test_edits(sharpness: float, expected: Sequence[float]) -> None:
    scores = torch.tensor([0, 0.025, 0.049, 0.05, 0.1, 0.5, 1])
    found = edit(scores, torch.tensor(0.05), torch.tensor(sharpness))
    torch.testing.assert_close(found, torch.tensor(expected), rtol=3e-6, atol=1e-6)


def test_a_kept_token_leaks_a_little_in_each_layer() -> None:
    mask = torch.tensor(1.0)
    for _ in range(12):
        mask = (
            mask * (edit(torch.tensor(0.05), torch.tensor(0.0125), torch.tensor(10)) * mask).exp()
        )
    assert mask.item() == pytest.approx(0.89607948, abs=1e-6)


def test_soft_removal() -> None:
    reducer, batch = toy(10)
    memory, alive = drive(reducer, batch)
    assert alive == [list(range(6))] * 2
    first, second = memory.contributions
    close(first, (0.21196565, 0.07797781, 0.57618238, 0.00388229, 0.12856367, 0.00142821))
    close(second, (0.26194347, 0.02129575, 0.70889418, 1.81312e-5, 0.00783841, 1.00609e-5))
    # [CLS] is kept at 1 here
    expected = (1, 0.99042504, 0.99558732, 1.14120998e-4, 0.99094797, 6.33250988e-5)
    close(memory.masks[1], expected)
    lengths = [row_sum(mask, batch.layout).item() for mask in memory.masks]
    assert lengths == pytest.approx([6, 3.97713777, 1.99282247], abs=1e-5)
    bias = (0, -8.24607217, -0.00773741, -9.07939347, -9.31063788, -9.66786264)
    close(memory.biases[-1], bias, 1e-5)
    assert losses(reducer, memory, batch)["length"].item() == pytest.approx(5.96996024, abs=1e-5)


@pytest.mark.parametrize("cls_row", [False, True])
def test_saturated_removal_is_hard_removal(cls_row: bool) -> None:
    reducer, batch = toy(1e20, cls_row)
    memory, _ = drive(reducer, batch)
    survivors = [mask.gt(0.5).nonzero().flatten().tolist() for mask in memory.masks[1:]]
    last = [6] if cls_row else []
    assert survivors == [[0, 1, 2, 4, *last], [0, 2, *last]]
    assert losses(reducer, memory, batch)["length"].item() == pytest.approx(
        (6 + 2) / 2 if cls_row else 6
    )
    _, alive = drive(reducer.eval(), batch)
    assert alive == survivors


def test_at_uniform_scores_every_token_is_on_the_threshold_and_stays() -> None:
    reducer, batch = toy(10)
    reducer.eta.data.fill_(1)
    for layer in range(2):
        reducer.contribution_predictors[layer] = Prescribed(torch.zeros(6))
    assert drive(reducer.eval(), batch)[1] == [list(range(6))] * 2


@pytest.mark.parametrize(
    ("sharpness", "theta", "expected"),
    [
        (10, 1.0, 0.5267058325),
        (10, 0.5, 0.6437319661),
        (1000, 1.0, 0.5310978598),
        (1000, 0.5, 0.6485107478),
    ],
)
def test_divergences(sharpness: float, theta: float, expected: float) -> None:
    for cls_row in (False, True):
        reducer, batch = toy(sharpness, cls_row)
        reducer.theta.data.fill_(theta)
        memory, _ = drive(reducer, batch)
        share = 0.5 if cls_row else 1  # a row of [CLS] alone counts as a row, with nothing in it
        found = reducer.divergences(memory, batch)
        close(found, (0.4430555352 * share, expected * share))
        assert losses(reducer, memory, batch)["kl"].item() == pytest.approx(
            share * (2 * 0.4430555352 + expected), abs=1e-5
        )


@pytest.mark.parametrize(
    ("sharpness", "eta", "cls"),
    [
        (10, (-0.00577193, -0.00193787), -0.00222815),
        (100, (-4.788863e-4, -9.47935e-5), -2.115303e-4),
    ],
)
def test_gradients_of_the_length(sharpness: float, eta: Sequence[float], cls: float) -> None:
    for theta in (1.0, 0.5):
        reducer, batch = toy(sharpness)
        before = drive(reducer, batch)[0].contributions[1]
        reducer.theta.data.fill_(theta)
        memory, _ = drive(reducer, batch)
        # theta moves by the gradient of a multiplier that never leaves 1
        assert torch.equal(memory.contributions[1], before)
        losses(reducer, memory, batch)["length"].backward()
        close(reducer.eta.grad, eta, 1e-7)
        close(reducer.theta.grad, (cls / theta,), 2e-7)


def test_predictors_have_the_size_and_the_start_of_the_code() -> None:
    predictor = ContributionPredictor(768)
    assert sum(p.numel() for p in predictor.parameters()) == 24_641
    weights = predictor.hidden.weight.detach()
    assert weights.abs().max() <= 0.04
    assert weights.std().item() == pytest.approx(0.02 * 0.88, rel=0.02)  # of 2 standard deviations
    assert not predictor.hidden.bias.any()


def test_one_predictor_may_serve_all_layers() -> None:
    one, each = built(AdapLeR(share_predictor=True)), built(AdapLeR())
    assert len(one.contribution_predictors) == 1
    assert len(each.contribution_predictors) == LAYERS


def test_predictors_are_charged_for_the_tokens_they_read() -> None:
    reducer = built(Drops())
    trace = run(tiny_model("bert"), reducer, ROWS).trace
    entering = [len(layer.entered.tokens) for layer in trace.layers]
    assert entering[0] == sum(len(row.ids) for row in ROWS) > entering[1]
    assert reducer.flops(trace, tiny_shape()) == 2 * (32 * HIDDEN + 32) * sum(entering)


# -- the two objectives -------------------------------------------------------------------------


def trained_part(reducer: AdapLeR) -> tuple[TokenDropModule, dict[str, Tensor]]:
    """A module in the middle of a step, and the step's losses."""
    tokenizer: Any = SimpleNamespace()
    module = TokenDropModule(Dense())
    model = TokenDropModel(tiny_model("bert"), reducer, tokenizer, MAX_TOKENS)
    stage = reducer.stages()[0]
    module.begin(model, SequenceClassification(["a", "b", "c"]), {}, stage)
    reducer.sharpness.fill_(10)
    module.groups = reducer.groups(stage, model.backbone)
    reducer.train()
    rows = packed(ROWS)
    batch = Batch.pack(
        [row.ids for row in ROWS], labels=rows.labels.tolist(), examples=range(len(ROWS))
    )
    begin(reducer, [torch.rand(len(row.ids)) + 0.1 for row in ROWS])
    step = Step(lambda: encode(model.backbone, batch, reducer), module._task_loss)
    (losses,) = reducer.training_passes(step)
    return module, losses


def test_weights_never_see_the_length_nor_thresholds_the_contributions() -> None:
    module, losses = trained_part(Drops(contribution_weight=0.1, length_weight=0.1))
    assert set(losses) == {"task", "length", "kl"}
    for loss in losses.values():
        assert loss.isfinite()
        assert loss > 0
    objectives = {
        "weights": losses["task"] + losses["kl"],
        "thresholds": losses["task"] + losses["length"],
    }
    forbidden = {"weights": losses["length"], "thresholds": losses["kl"]}
    module._backward(losses)
    grown = {id(p) for group in module.groups for p in group.parameters.values()}
    assert grown == {id(p) for p in module.model.parameters()}
    for group in module.groups:
        parameters = list(group.parameters.values())
        expected = torch.autograd.grad(
            objectives[group.name], parameters, retain_graph=True, allow_unused=True
        )
        for parameter, gradient in zip(parameters, expected, strict=True):
            if gradient is None:
                assert parameter.grad is None
            else:
                torch.testing.assert_close(parameter.grad, gradient)
        # which is worth asking, as the other term would move these parameters too
        other = torch.autograd.grad(
            forbidden[group.name], parameters, retain_graph=True, allow_unused=True
        )
        assert any(gradient is not None and gradient.any() for gradient in other)


def test_in_a_chain_the_objectives_stay_apart() -> None:
    chain = Chain([AdapLeR(), DactBert()])
    built(chain)
    weights, thresholds = chain.groups(chain.stages()[0], nn.Linear(1, 1))
    assert weights.ignores == {"length_0"}
    assert thresholds.ignores == {"kl_0"}


def test_the_optimisers_are_the_codes() -> None:
    reducer = built(AdapLeR())
    (stage,) = reducer.stages()
    assert (stage.optimizer, stage.learning_rate, stage.weight_decay) == ("adamw", 3e-5, 0.01)
    assert (stage.eps, stage.clip, stage.warmup, stage.schedule) == (1e-12, 1.0, 0.06, "linear")
    assert (stage.start, stage.reshuffle, stage.keep) == ("pretrained", False, "best")
    weights, thresholds = reducer.groups(stage, nn.Linear(1, 1))
    assert weights.learning_rate is None
    assert thresholds.learning_rate == 5e-4
    # Adam without decay is AdamW whose decay does not reach them, as it does no vector
    assert all(parameter.ndim == 1 for parameter in thresholds.parameters.values())
    (tuned,) = AdapLeR(init="finetuned", reshuffle=True).stages()
    assert (tuned.start, tuned.reshuffle) == ("previous", True)


def test_saliencies_are_matched_by_example() -> None:
    reducer, model = built(Drops()), tiny_model("bert")
    saliencies = [torch.rand(len(row.ids)) for row in ROWS]
    begin(reducer, saliencies)
    reducer.train()
    found = []
    for order in ([3, 1, 0, 5], [5, 0, 3, 1]):
        batch = Batch.pack([ROWS[i].ids for i in order], examples=order)
        found.append(reducer.losses(encode(model, batch, reducer))["kl"])
    torch.testing.assert_close(*found)
    assert "saliency" not in str(list(reducer.state_dict()))
    reducer.leave(reducer.stages()[0], {})
    assert reducer.saliency == []


def test_attention_may_be_the_target_instead() -> None:
    lengths = [len(row.ids) for row in ROWS]
    context = StageContext(
        torch.tensor(lengths),
        steps=10,
        saliency=lambda: pytest.fail("nobody asked for the saliency"),
        attention=lambda: [torch.full((n,), 0.5) for n in lengths],
    )
    reducer = built(AdapLeR(target="attention"))
    reducer.enter(reducer.stages()[0], context)
    assert [row[0].item() for row in reducer.saliency] == [0.5] * len(ROWS)


# -- properties ---------------------------------------------------------------------------------


def test_with_no_threshold_the_sharpest_soft_pass_is_bert() -> None:
    model, reducer = tiny_model("bert"), built(KeepsAll()).train()
    for sharpness in (1e10, 1e20):
        reducer.sharpness.fill_(sharpness)
        expected, _ = padded_forward(model, ROWS)
        torch.testing.assert_close(run(model, reducer, ROWS).logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sharpness", [10.0, 1e20])
def test_soft_rows_do_not_see_their_batch(sharpness: float) -> None:
    model, reducer = tiny_model("bert"), built(Drops()).train()
    reducer.sharpness.fill_(sharpness)
    whole = run(model, reducer, ROWS).logits
    alone = torch.cat([run(model, reducer, [row]).logits for row in ROWS])
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=0)


@settings(max_examples=25)
@given(
    st.integers(0, 100),
    st.lists(st.integers(1, MAX_TOKENS), min_size=1, max_size=4),
    st.lists(st.floats(1e-6, 1e6), min_size=LAYERS, max_size=LAYERS),
)
def test_soft_at_its_sharpest_is_hard_and_cls_survives_any_threshold(
    seed: int, lengths: list[int], eta: list[float]
) -> None:
    model, reducer, rows = (
        tiny_model("bert", seed % 3),
        built(Drops(), seed),
        tiny_rows(lengths, seed),
    )
    reducer.eta.data.copy_(torch.tensor(eta))
    hard = run(model, reducer, rows)
    assert hard.logits.isfinite().all()
    reducer.train().sharpness.fill_(1e20)
    soft = run(model, reducer, rows)
    torch.testing.assert_close(soft.logits, hard.logits, atol=1e-5, rtol=0)
    for layer, mask in zip(hard.trace.layers, soft.memory.masks[1:], strict=True):
        kept = set(layer.attention.tokens.tolist())
        assert kept == set(mask.gt(0.5).nonzero().flatten().tolist())
        assert kept >= set(hard.batch.layout.first.tolist())


def test_attention_probabilities_are_never_dropped_out() -> None:
    model = tiny_model("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5).train()
    model.dropout.p = 0.0
    reducer = built(Drops()).train()
    one, other = (run(model, reducer, tiny_rows([9, 20])).logits for _ in range(2))
    assert torch.equal(one, other)


# -- schedules, and the choice of an epoch ------------------------------------------------------


def test_thresholds_stay_between_one_hundredth_and_one() -> None:
    reducer = built(AdapLeR())
    reducer.eta.data.copy_(torch.tensor([-1.0, 2, 0.5]))
    reducer.after_step(0)
    close(reducer.eta, (0.01, 1, 0.5))
    assert reducer.theta.tolist() == [1] * (LAYERS - 1)


@pytest.mark.parametrize(
    ("epochs", "plan"),
    [(5, (10, 100, 1e3, 1e4, 1e5)), (3, (50, 2500, 125e3)), (10, (10, 30, 90))],
)
def test_sharpness_grows_after_the_first_step_of_each_epoch(
    epochs: int, plan: Sequence[float]
) -> None:
    code, ours = (
        built(AdapLeR(epochs=epochs)),
        built(AdapLeR(epochs=epochs, lambda_update="epoch_start")),
    )
    for reducer in (code, ours):
        reducer.enter(reducer.stages()[0], StageContext(torch.tensor([8]), 2 * epochs))
    used: list[list[float]] = [[], []]
    for epoch in range(len(plan)):
        for _ in range(2):
            for reducer, seen in zip((code, ours), used, strict=True):
                reducer.before_step(epoch)
                seen.append(float(reducer.sharpness))
                reducer.after_step(epoch)
    assert used[1] == [value for value in plan for _ in range(2)]
    assert used[0] == [1000, *used[1][:-1]]
    # a stage that is resumed between two epochs goes on with the last one's
    again = built(AdapLeR(epochs=epochs))
    again.load_state_dict(code.state_dict())
    assert float(again.sharpness) == plan[-1]


@pytest.mark.parametrize("epochs", [1, 2, 4, 7, 60])
@pytest.mark.parametrize("resumed", [False, True])
def test_with_any_other_number_of_epochs_five_stretches_fill_the_training(
    epochs: int, resumed: bool
) -> None:
    steps, used = 10, []
    setting = StageContext(torch.tensor([8]), steps * epochs)
    reducer = built(AdapLeR(epochs=epochs, lambda_update="epoch_start"))
    reducer.enter(reducer.stages()[0], setting)
    for epoch in range(epochs):
        if resumed:  # after every epoch
            again = built(AdapLeR(epochs=epochs, lambda_update="epoch_start"))
            again.enter(again.stages()[0], setting)
            again.load_state_dict(reducer.state_dict())
            reducer = again
        for _ in range(steps):
            reducer.before_step(epoch)
            used.append(float(reducer.sharpness))
            reducer.after_step(epoch)
    assert used == sorted(used)
    plan = [10, 100, 1e3, 1e4, 1e5]
    assert [used.count(value) for value in plan] == [len(used) // 5] * 5


def test_in_a_chain_a_trained_part_stays_as_hard_as_it_ended() -> None:
    reducer = built(AdapLeR(epochs=1))
    reducer.enter(reducer.stages()[0], StageContext(torch.tensor([8]), 10))
    reducer.leave(reducer.stages()[0], {"score": 0.5})
    for _ in range(3):
        reducer.before_step(0)
        reducer.after_step(0)
        assert float(reducer.sharpness) == 1e5


@pytest.mark.parametrize(("rate", "warns"), [(5e-4, True), (2e-2, False), (0.0, False)])
def test_thresholds_that_cannot_rise_far_in_so_few_steps_are_told_before_the_training(
    caplog: pytest.LogCaptureFixture, rate: float, warns: bool
) -> None:
    reducer = built(AdapLeR(epochs=3, threshold_learning_rate=rate))
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        reducer.enter(reducer.stages()[0], StageContext(torch.tensor([8]), 100))
    assert ("only tokens below 0.28 of their row's mean" in caplog.text) == warns
    assert ("threshold_learning_rate" in caplog.text) == warns


EPOCHS = [(0.90, 1.1), (0.895, 1.9), (0.893, 1.5), (0.88, 4.0)]  # (metric, speed-up)


@pytest.mark.parametrize(("dense", "chosen", "within"), [(0.9, 1, True), (0.95, 0, False)])
def test_the_fastest_epoch_within_a_point_wins_or_else_the_closest(
    dense: float, chosen: int, within: bool
) -> None:
    reducer = built(AdapLeR())
    assert reducer.score(0.7, {"flops_speedup": 3}) == 0.7  # outside of a stage
    assert "within_one_point" not in reducer.describe()
    assert reducer.caveat() == ""
    begin(reducer, [], dense)
    scores = [reducer.score(metric, {"flops_speedup": speed}) for metric, speed in EPOCHS]
    assert scores.index(max(scores)) == chosen
    reducer.leave(reducer.stages()[0], {"score": max(scores), "flops_speedup": 2.0})
    assert reducer.describe()["within_one_point"] is within
    again = built(AdapLeR())
    again.load_state_dict(reducer.state_dict())
    assert again.describe()["within_one_point"] is within
    assert ("no epoch came within a point" in again.caveat()) is not within
    assert Chain([again, DactBert()]).caveat() == again.caveat()


def test_a_metric_just_one_point_below_does_not_qualify() -> None:
    reducer = built(AdapLeR())
    begin(reducer, [], 0.75)
    assert reducer.score(0.74, {"flops_speedup": 5}) == 0.74
    assert reducer.score(0.7401, {"flops_speedup": 0.99}) == pytest.approx(1.99)


# -- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"contribution_weight": -1.0}, "contribution_weight -1.0 .* 0 or more"),
        ({"length_weight": math.nan}, "length_weight nan"),
        ({"epochs": 0}, "epochs 0 .* 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate 0.0"),
        ({"threshold_learning_rate": math.inf}, "threshold_learning_rate inf"),
        ({"first_threshold": 0.0}, "first_threshold 0.0 .* 0.01 or more and at most 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        built(AdapLeR(**arguments))


def test_training_behind_a_method_that_removes_tokens_is_refused() -> None:
    chain = built(Chain([PowerBert(configuration=[4, 4, 4]), AdapLeR(init="finetuned")])).train()
    with pytest.raises(UserError, match="whole rows"):
        run(tiny_model("bert"), chain, ROWS)
