"""Several methods in one model: tokens drop and rows leave."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines import FirstK
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.probabilities import Received
from tokendrop.errors import UserError
from tokendrop.heads import TAG
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.adapler import AdapLeR
from tokendrop.reducers.base import Decision, Reducer, StageContext, Step, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive import LengthAdaptive, Plan, shrinking_lengths
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.tasks import SequenceClassification
from tokendrop.testing.tiny import (
    CLASSES,
    CONFIGS,
    LAYERS,
    MAX_TOKENS,
    built,
    packed,
    run,
    tiny_model,
    tiny_rows,
    tiny_shape,
)
from tokendrop.training.module import TokenDropModule


def KEEPS_ALL() -> Reducer:
    return Chain([Dense(), PowerBert()])


def both() -> Chain:
    return Chain([PowerBert(configuration=[12, 8, 3]), DactBert(halt_bias=-2.5)])


DROPS: dict[str, Callable[[], Reducer]] = {
    "both": both,
    "exit_first": lambda: Chain([DactBert(halt_bias=-3), PowerBert(configuration=[12, 8, 3])]),
    "nested": lambda: Chain([both(), Dense()]),
}
SOFT_EQUALS_HARD = "each part has its own"
ROWS = tiny_rows()


def test_tokens_drop_and_rows_leave_in_one_pass() -> None:
    trace = run(tiny_model("bert"), built(both()), ROWS).trace
    assert int((trace.row_depth() < LAYERS).sum()) > 0
    first = trace.layers[0].feed_forward
    assert sorted(first.lengths) == sorted(min(12, len(row.ids)) for row in ROWS)
    # the rows that go on have not got their dropped tokens back
    assert max(trace.layers[1].entered.lengths) <= 12


def test_a_part_does_not_disturb_another() -> None:
    model = tiny_model("bert")
    tokens = PowerBert(configuration=[12, 8, 3])
    alone = run(model, built(tokens), ROWS)
    chained = run(model, built(Chain([tokens, Dense()])), ROWS)
    assert torch.equal(alone.logits, chained.logits)
    assert torch.equal(alone.trace.token_depth(), chained.trace.token_depth())


def test_the_recipes_follow_each_other_and_losses_of_trained_parts_count() -> None:
    model = tiny_model("bert")
    reducer = built(Chain([PowerBert(), DactBert()])).train()
    stages = reducer.stages()
    assert [stage.name for stage in stages] == ["0_search", "0_retrain", "1_joint"]
    terms = []
    for stage in stages:
        reducer.enter(stage, StageContext(lengths=torch.tensor([8]), steps=10_000))
        terms.append(set(reducer.losses(run(model, reducer, ROWS))))
        with torch.no_grad():
            reducer.parts[0].retention[:, 6:] = 0
        reducer.leave(stage, {})
    assert terms == [{"mass_0"}, set(), {"ponder_1"}]
    # what the first part found in its stages holds in those of the second
    trace = run(model, reducer, ROWS).trace
    assert max(trace.layers[0].feed_forward.lengths) == 6


@pytest.mark.parametrize("nested", [False, True])
def test_two_scores_cannot_be_combined(nested: bool) -> None:
    class WithDiagonal(Reducer):
        received: Received = "with_diagonal"

    first = Chain([PowerBert()]) if nested else PowerBert()
    with pytest.raises(UserError, match="without_diagonal"):
        Chain([first, WithDiagonal()])


class Exit(Reducer):
    """Lets the first rows leave behind each layer, with the same number for every class."""

    def __init__(self, row: int, answer: float) -> None:
        super().__init__()
        self.row, self.answer = row, answer

    def after_layer(self, view: View) -> Decision:
        many = len(view.batch.input_ids if view.by_token else view.layout.rows)
        answer = torch.full((many, CLASSES), self.answer)
        return Decision(leave=view.layout.rows <= self.row, answer=answer)


def test_the_first_part_that_lets_a_row_leave_answers_it() -> None:
    model, rows = tiny_model("bert"), tiny_rows([4, 3, 5])
    encoded = run(model, Chain([Exit(0, 1.0), Exit(1, 2.0)]), rows)
    assert encoded.logits[:2].tolist() == [[1.0] * CLASSES, [2.0] * CLASSES]
    assert encoded.trace.row_depth().tolist() == [1, 1, LAYERS]
    dense = run(model, Dense(), rows).logits
    torch.testing.assert_close(encoded.logits[2], dense[2], atol=1e-5, rtol=0)


def in_stage(reducer: Chain, index: int) -> TokenDropModule:
    """The chain in the middle of one of its stages, with saliencies where it asks for them."""
    lengths = [len(row.ids) for row in ROWS]
    tokenizer: Any = SimpleNamespace()
    model = TokenDropModel(tiny_model("bert"), reducer, tokenizer, MAX_TOKENS)
    stage = reducer.stages()[index]
    saliency = [torch.rand(length, generator=torch.Generator()) for length in lengths]
    reducer.enter(stage, StageContext(torch.tensor(lengths), 10, 0.9, lambda: saliency))
    module = TokenDropModule(Dense())
    module.begin(model, SequenceClassification(["a", "b", "c"]), {}, stage)
    module.model.backbone.eval()  # no dropout: gradients of two passes are compared
    module.groups = reducer.groups(stage, model.backbone)
    module.manual_backward = lambda loss: loss.backward()  # what it is without a trainer
    return module


def train_step(module: TokenDropModule) -> list[dict[str, Tensor]]:
    """The losses of a step; gradients are left in the parameters."""
    batch = packed(ROWS, examples=range(len(ROWS)))
    step = Step(lambda: module.model(batch), module._task_loss)
    losses = []
    for terms in module.model.reducer.training_passes(step):
        module._backward(terms)
        losses.append({name: float(loss.detach()) for name, loss in terms.items()})
    return losses


def test_an_exit_that_is_not_trained_yet_is_silent() -> None:
    module = in_stage(built(Chain([PowerBert(), DactBert(halt_bias=-4)])), 0)
    module.model.eval()
    encoded = module.model(packed(ROWS))
    assert encoded.trace.head_states == len(ROWS)
    reducer = module.model.reducer
    assert reducer.flops(encoded.trace, module.model.shape) == 0
    # and stays so in a copy that is loaded between the stages
    between = built(Chain([PowerBert(), DactBert(halt_bias=-4)]))
    between.load_state_dict(reducer.state_dict())
    assert run(tiny_model("bert"), between, ROWS).trace.head_states == len(ROWS)
    reducer.enter(reducer.stages()[-1], StageContext(lengths=torch.tensor([8]), steps=1))
    between.load_state_dict(reducer.state_dict())
    assert run(tiny_model("bert"), between, ROWS).trace.head_states == 0


def test_a_step_of_length_adaptive_and_an_exit_is_the_loss_written_by_hand() -> None:
    tau = 0.3
    exit_ = DactBert(tau=tau, halt_bias=0.5)
    chain = built(Chain([exit_, LengthAdaptive(length_drop=0.4, layer_drop=0, random_models=0)]))
    module = in_stage(chain, 1)
    losses = train_step(module)
    assert [set(terms) for terms in losses] == [
        {"task", "ponder_0"},
        {"distillation_1", "ponder_0"},
    ]
    found = {n: p.grad for n, p in module.model.named_parameters()}

    module.zero_grad()
    model, batch = module.model.backbone, packed(ROWS)
    smallest = shrinking_lengths(MAX_TOKENS, 0.4, [0.0] * LAYERS)
    shortened = Chain([exit_, LengthAdaptive(configuration=smallest)])
    shortened.parts[1].build(tiny_shape())
    shortened.train()
    full, short = encode(model, batch, exit_), encode(model, batch, shortened)
    teacher, student = full.logits.detach().log_softmax(-1), short.logits.log_softmax(-1)
    distance = (student.exp() * (student - teacher)).sum(-1).mean()
    ponder = full.memory.ponder.mean() + short.memory[0].ponder.mean()
    loss = (F.cross_entropy(full.logits, batch.labels) + distance + tau * ponder) / 2
    loss.backward()
    assert sum(sum(terms.values()) for terms in losses) == pytest.approx(
        float(loss.detach()), rel=1e-5
    )
    for name, parameter in module.model.named_parameters():
        if parameter.grad is None:
            assert found[name] is None, name
        else:
            torch.testing.assert_close(found[name], parameter.grad, msg=name)
    assert found["reducer.parts.0.units.0.halt.weight"].any()


def test_the_exit_answers_also_where_layers_are_skipped() -> None:
    """LayerDrop makes a skipped layer the identity: its unit reads what it hands on."""
    chain = built(Chain([DactBert(halt_bias=0.5), LengthAdaptive()])).train()
    tokens = chain.parts[1]
    whole = [MAX_TOKENS] * LAYERS
    model = tiny_model("bert")

    def two_layers(batch: Batch) -> Plan:
        return Plan.of(batch.layout.lengths, [whole] * len(batch), [True, True, False])

    with tokens.following(two_layers):
        encoded = run(model, chain, ROWS)
    assert encoded.trace.head_states == 0
    assert encoded.trace.row_depth().eq(2).all()
    states: list[Tensor] = []
    kept = DactBert(halt_bias=0.5)
    kept.after_layer = lambda view: states.append(view.cls)  # type: ignore[method-assign]
    run(model, built(kept), ROWS)
    answer, remaining = torch.zeros(len(ROWS), CLASSES), torch.ones(len(ROWS))
    for unit, cls in zip(chain.parts[0].units, [*states[:2], states[1]], strict=True):
        logits, halting = unit(cls, cls)
        of_layer = logits.softmax(-1)
        answer = remaining[:, None] * of_layer + (1 - remaining[:, None]) * answer
        remaining = remaining * halting
    torch.testing.assert_close(encoded.logits.exp(), answer)


@pytest.mark.parametrize("owner", ["AdapLeR", "DactBert"])
def test_the_objectives_of_adapler_stay_apart_in_every_stage(owner: str) -> None:
    adapler = AdapLeR(contribution_weight=0.5, length_weight=0.1, init="finetuned")
    exit_ = DactBert(tau=0.3, halt_bias=0.5, unit_learning_rate=1e-2)
    first, chain = (
        (0, Chain([adapler, exit_])) if owner == "DactBert" else (1, Chain([exit_, adapler]))
    )
    module = in_stage(built(chain), 1)
    names = {"kl": f"kl_{first}", "length": f"length_{first}", "ponder": f"ponder_{1 - first}"}
    torch.manual_seed(0)
    (losses,) = train_step(module)
    assert set(losses) == {"task", *names.values()}
    rates = {
        name.rsplit(".", 1)[-1]: group.learning_rate
        for group in module.groups
        for name in group.parameters
        if name.startswith("reducer.")
    }
    assert rates["eta"] == adapler.threshold_learning_rate
    assert rates["bias"] in (1e-2, None)
    grouped = [id(p) for group in module.groups for p in group.parameters.values()]
    assert sorted(grouped) == sorted(id(p) for p in module.model.parameters())

    found = {n: p.grad for n, p in module.model.named_parameters()}
    batch = packed(ROWS, examples=range(len(ROWS)))
    step = Step(lambda: module.model(batch), module._task_loss)
    terms = next(iter(chain.training_passes(step)))
    for name, parameter in module.model.named_parameters():
        threshold = name.endswith((".eta", ".theta"))
        followed = {"task", names["ponder"], names["length" if threshold else "kl"]}
        total = torch.stack([terms[term] for term in followed]).sum()
        (expected,) = torch.autograd.grad(total, parameter, retain_graph=True, allow_unused=True)
        if expected is None:
            assert found[name] is None, name
        else:
            torch.testing.assert_close(found[name], expected, msg=name)


def test_a_trained_part_goes_on_as_in_its_last_epoch() -> None:
    chain = built(Chain([AdapLeR(epochs=3), DactBert()]))
    in_stage(chain, 1)
    chain.after_step(0)
    assert float(chain.parts[0].sharpness) == 50 * 50**2
    chain = built(Chain([AdapLeR(epochs=3), DactBert()]))
    in_stage(chain, 0)
    chain.after_step(0)
    assert float(chain.parts[0].sharpness) == 50


def test_the_best_epoch_is_chosen_by_the_owner_of_the_stage() -> None:
    chain = built(Chain([AdapLeR(), DactBert()]))
    metrics = {"flops_speedup": 1.7}
    in_stage(chain, 0)
    assert chain.score(0.95, metrics) == pytest.approx(2.7)
    assert chain.score(0.80, metrics) == 0.80
    in_stage(chain, 1)
    assert chain.score(0.95, metrics) == 0.95


def test_dropout_of_attention_is_what_the_acting_parts_allow() -> None:
    chain = built(Chain([DactBert(), PowerBert()]))
    in_stage(chain, 0)
    assert chain.attention_dropout
    in_stage(chain, 1)
    assert not chain.attention_dropout


def test_what_undoes_the_training_of_another_part_is_refused() -> None:
    with pytest.raises(UserError, match=r"part 1 of the chain, AdapLeR, .* put it first"):
        built(Chain([DactBert(), AdapLeR()]))


def test_parts_that_say_the_same_are_told_apart() -> None:
    chain = built(Chain([PowerBert(configuration=[9, 8, 7]), PowerBert(configuration=[6, 5, 4])]))
    described = chain.describe()
    assert (described["configuration_0"], described["configuration_1"]) == ([9, 8, 7], [6, 5, 4])
    assert built(both()).describe()["configuration"] == [12, 8, 3]


def test_notes_of_all_parts_are_told_once() -> None:
    chain = Chain([AdapLeR(), Chain([DactBert()]), DactBert()])
    assert chain.note == f"{AdapLeR.note} {DactBert.note}"


def test_a_chain_in_a_chain_trains_as_the_flat_one() -> None:
    def parts() -> list[Reducer]:
        return [DactBert(tau=0.3), LengthAdaptive(layer_drop=0, random_models=0)]

    flat = train_step(in_stage(built(Chain(parts())), 1))
    nested = train_step(in_stage(built(Chain([Dense(), Chain(parts())])), 1))
    assert [set(terms) for terms in nested] == [
        {"task", "ponder_0_1"},
        {"distillation_1_1", "ponder_0_1"},
    ]
    assert [list(terms.values()) for terms in flat] == [list(terms.values()) for terms in nested]


def test_a_part_that_trains_for_no_epoch_acts() -> None:
    def parts() -> list[Reducer]:
        return [PowerBert(configuration=[12, 8, 3]), FirstK(ratio=0.25, epochs=0)]

    module = in_stage(built(Chain(parts())), 0)
    reducer = module.model.reducer
    module.model.eval()
    reducer.leave(reducer.stages()[0], {})
    kept = run(tiny_model("bert"), reducer, ROWS).trace.layers[0].feed_forward.lengths
    assert max(kept) <= MAX_TOKENS // 4
    # as it does in a model of a version that waited for its turn
    before = reducer.state_dict() | {"_extra_state": torch.tensor([0])}
    again = built(Chain(parts()))
    again.load_state_dict(before)
    assert run(tiny_model("bert"), again, ROWS).trace.layers[0].feed_forward.lengths == kept


def test_the_first_exit_answers_all_tokens_of_its_rows() -> None:
    model = TAG.auto.from_config(CONFIGS["bert"]()).eval()
    rows = tiny_rows([4, 3, 5])
    logits = run(model, Chain([Exit(0, 1.0), Exit(1, 2.0)]), rows).logits
    assert logits[:4].eq(1).all()
    assert logits[4:7].eq(2).all()
    torch.testing.assert_close(logits[7:], run(model, Dense(), rows).logits[7:])


def test_a_chain_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"Chain.parts \[\] is empty: name at least one"):
        Chain([])
