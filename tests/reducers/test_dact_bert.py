"""DACT-BERT: the recursion by prescribed answers and halting values, and exits that are exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded, Trace
from tokendrop.reducers.base import Reducer, Shape, View
from tokendrop.reducers.dact_bert import DactBert, Unit
from tokendrop.testing.tiny import (
    FAMILY_NAMES,
    LAYERS,
    Row,
    built,
    padded_forward,
    run,
    tiny_model,
    tiny_rows,
)

KEEPS_ALL = None  # its units answer, the backbone's own head never does


def OWN_HEAD() -> Reducer:
    return DactBert(check_every=99)


DROPS: dict[str, Callable[[], Reducer]] = {
    "paper": lambda: DactBert(halt_bias=-3),
    "tight": lambda: DactBert(halt_bias=-2, exit_rule="tight", exit_tie="nonstrict"),
    "shared": lambda: DactBert(halt_bias=-3, share_units=True, trunk_width=8),
    "every_second": lambda: DactBert(halt_bias=-4, check_every=2),
    "mean": lambda: DactBert(halt_bias=-3, pooling="mean"),
}
SOFT_EQUALS_HARD = "the mixture of all blocks is the hard answer only in its class: see exits below"


# -- a driver for prescribed y_n and h_n --------------------------------------------------------


class Prescribed(nn.Module):
    """A unit that answers for row b, whose state is b, with the b-th of the given values."""

    def __init__(self, answer: Tensor, halting: Tensor) -> None:
        super().__init__()
        self.answer, self.halting = answer, halting

    def forward(self, cls: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        row = cls[:, 0].long()
        return self.answer[row].log(), self.halting[row]


@dataclass
class Outcome:
    answers: Tensor  # (B, C) probabilities at the exit
    exits: list[int]  # blocks passed
    ponder: float  # mean of rho
    loss: Callable[[list[int]], float]  # of given labels


def drive(reducer: DactBert, answers: Tensor, halting: Tensor) -> Outcome:
    """Run (B, N, C) answers and (B, N) halting values, as the encoder would, with real exits."""
    rows, blocks, classes = answers.shape
    reducer.build(Shape(blocks, 1, 1, 1, classes, 8))
    reducer.units = nn.ModuleList(Prescribed(answers[:, n], halting[:, n]) for n in range(blocks))
    batch = Batch.pack([[0] * (1 + row % 3) for row in range(rows)])
    memory, layout = reducer.start(batch), batch.layout
    logits, exits = torch.full((rows, classes), torch.nan), [0] * rows
    for n in range(blocks):
        states = layout.rows[layout.row][:, None].float()
        decision = reducer.after_layer(View(n, blocks, layout, states, memory, batch))
        if decision is None or decision.leave is None:
            continue
        assert decision.answer is not None
        left = layout.rows[decision.leave]
        logits[left] = decision.answer[decision.leave]
        for row in left.tolist():
            exits[row] = n + 1
        _, layout = layout.keep(~decision.leave[layout.row])
        if not layout.lengths:
            break
    encoded = Encoded(batch, logits, Trace(batch.layout), memory)
    ponder = reducer.losses(encoded)["ponder"]

    def loss(labels: list[int]) -> float:
        task = F.cross_entropy(logits, torch.tensor(labels))
        return float(task + ponder)

    return Outcome(logits.softmax(-1), exits, float(ponder) / reducer.tau, loss)


def one(
    answers: Sequence[Sequence[float]], halting: Sequence[float], reducer: DactBert | None = None
) -> Outcome:
    """A single row; without a reducer, all blocks run, as in training."""
    reducer = reducer or DactBert().train()
    return drive(reducer, torch.tensor([answers]), torch.tensor([halting]))


RULES = [(rule, tie) for rule in ("paper", "tight") for tie in ("strict", "nonstrict")]


def running(rule: str = "paper", tie: str = "strict", check_every: int = 1) -> DactBert:
    reducer = DactBert(exit_rule=rule, exit_tie=tie, check_every=check_every)
    return reducer.eval()


D1 = (
    [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]],
    [0.5, 0.4, 0.5, 0.9],
)
D2 = ([[0.9, 0.1], [0.95, 0.05], [0.2, 0.8], [0.0, 1.0]], [0.1, 0.1, 1.0, 1.0])
D4 = ([[0.6, 0.4], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]], [0.1, 1.0, 1.0, 1.0])


# -- the recursion ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "answers", "remaining"),
    [
        (
            D1,
            [[0.6, 0.3, 0.1], [0.55, 0.35, 0.1], [0.46, 0.44, 0.1], [0.434, 0.416, 0.15]],
            [0.5, 0.2, 0.1, 0.09],
        ),
        (
            D2,
            [[0.9, 0.1], [0.905, 0.095], [0.89795, 0.10205], [0.8889705, 0.1110295]],
            [0.1, 0.01, 0.01, 0.01],
        ),
    ],
    ids=["D1", "D2"],
)
def test_answers_and_ponder_cost_block_by_block(
    case: tuple, answers: list[list[float]], remaining: list[float]
) -> None:
    for n in range(1, 5):
        outcome = one(case[0][:n], case[1][:n])
        assert outcome.answers[0].tolist() == pytest.approx(answers[n - 1], abs=1e-6)
        assert outcome.ponder == pytest.approx(sum(remaining[:n]), abs=1e-6)


def weights(halting: Sequence[float]) -> list[float]:
    """w_n, the share of block n in the final answer: each block names a class of its own."""
    return one(torch.eye(len(halting)).tolist(), halting).answers[0].tolist()


def test_weights_of_the_blocks() -> None:
    assert weights(D1[1]) == pytest.approx([0.36, 0.36, 0.18, 0.10], abs=1e-6)
    equal = weights([0.5] * 12)
    assert equal[:2] == pytest.approx([0.28892915] * 2, abs=1e-6)
    assert equal[11] == pytest.approx(0.00048828, rel=1e-4)
    assert sum(equal) == pytest.approx(1, abs=1e-6)
    assert sum(n * w for n, w in enumerate(equal, 1)) == pytest.approx(2.60113, abs=1e-4)


@pytest.mark.parametrize(
    ("bias", "first", "last", "depth", "ponder"),
    [
        (-1, 0.6602, 5.3e-7, 1.473, 0.3679),
        (0, 0.28893, 4.883e-4, 2.6011, 0.99976),
        (1, 0.02595, 0.03188, 5.977, 2.6549),
        (2.197, 2.76e-5, 0.31381, 10.295, 6.4581),
        (2.944, 5.02e-8, 0.56880, 11.302, 8.7332),
    ],
)
def test_what_the_halting_bias_means_at_the_start(
    bias: float, first: float, last: float, depth: float, ponder: float
) -> None:
    unit = Unit(4, 4, 2, halt_bias=bias)
    halting = [unit(torch.zeros(1, 4), torch.zeros(1, 4))[1].item()] * 12
    shares = weights(halting)
    assert shares[0] == pytest.approx(first, rel=5e-3, abs=1.1e-8)
    assert shares[11] == pytest.approx(last, rel=2e-2, abs=1.1e-8)
    assert sum(n * w for n, w in enumerate(shares, 1)) == pytest.approx(depth, rel=1e-3)
    assert one(torch.eye(12).tolist(), halting).ponder == pytest.approx(ponder, rel=1e-3)


def test_going_on_for_sure_leaves_the_last_answer() -> None:
    outcome = one(D1[0], [1.0] * 4)
    assert outcome.answers[0].tolist() == pytest.approx(D1[0][3], abs=1e-6)
    assert outcome.ponder == pytest.approx(4)


@pytest.mark.parametrize(("rule", "tie"), RULES)
def test_halting_at_once_leaves_the_first_answer(rule: str, tie: str) -> None:
    halting = [0.0, 0.7, 0.2, 1.0]
    outcome = one(D1[0], halting)
    assert outcome.answers[0].tolist() == pytest.approx(D1[0][0], abs=1e-6)
    assert outcome.ponder == 0
    assert one(D1[0], halting, running(rule, tie)).exits == [1]


def test_loss_is_that_of_the_mixture_plus_the_ponder_cost() -> None:
    assert one(*D1, DactBert(tau=0.1).train()).loss([0]) == pytest.approx(0.9237107, abs=1e-6)


def test_a_zero_probability_costs_no_more_than_the_clamp() -> None:
    outcome = one([[1.0, 0.0]], [0.0])
    assert outcome.loss([1]) == pytest.approx(18.4206807, abs=1e-5)


# -- exits --------------------------------------------------------------------------------------


def test_hand_computed_exits() -> None:
    for rule, tie in RULES:
        assert one(*D1, running(rule, tie)).exits == [4]
    assert one(*D2, running()).exits == [1]
    assert one(*D2, running()).answers.argmax() == one(*D2).answers.argmax()
    # a rule in circulation lets this one leave at block 1, with the wrong class
    assert one(*D4, running()).exits == [4]
    assert one(*D4, running()).answers[0].tolist() == pytest.approx([0.4374, 0.5626], abs=1e-6)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 0, 1), (1,)])
def test_a_row_goes_on_alone_with_unchanged_values(order: tuple[int, ...]) -> None:
    answers = torch.tensor([(D2, D4)[i][0] for i in order])
    halting = torch.tensor([(D2, D4)[i][1] for i in order])
    outcome = drive(running(), answers, halting)
    assert outcome.exits == [(1, 4)[i] for i in order]
    expected = torch.tensor([([0.9, 0.1], [0.4374, 0.5626])[i] for i in order])
    torch.testing.assert_close(outcome.answers, expected, atol=1e-6, rtol=0)


# the largest p_n at which a row with two classes may stop: paper's rule, tight rule
LARGEST = {
    (11, 0.99): (0.05018, 0.06021),
    (11, 0.9): (0.04196, 0.05203),
    (11, 0.75): (0.02746, 0.03619),
    (11, 0.6): (0.01161, 0.01644),
    (6, 0.9): (0.07643, 0.09332),
    (3, 0.99): (0.17917, 0.20364),
    (3, 0.75): (0.09933, 0.12642),
    (1, 0.99): (0.49246, 0.49495),
    (1, 0.9): (0.42105, 0.44444),
    (1, 0.75): (0.28571, 0.33333),
    (1, 0.6): (0.12500, 0.16667),
}


@pytest.mark.parametrize(("left", "best"), LARGEST)
def test_largest_remaining_share_at_which_a_row_stops(left: int, best: float) -> None:
    for rule, largest in zip(("paper", "tight"), LARGEST[left, best], strict=True):
        answers = [[best, 1 - best]] * (left + 1)
        for remaining, stops in ((largest - 2e-5, True), (largest + 2e-5, False)):
            exits = one(answers, [remaining] + [1.0] * left, running(rule)).exits
            assert (exits == [1]) == stops


def test_an_exact_tie_stops_only_by_the_nonstrict_rule() -> None:
    answers, halting = [[0.5, 0.5], [0.5, 0.5]], [0.0, 0.0]
    for rule in ("paper", "tight"):
        assert one(answers, halting, running(rule, "strict")).exits == [2]
        assert one(answers, halting, running(rule, "nonstrict")).exits == [1]


def check_exact(answers: Tensor, halting: Tensor) -> None:
    """Every rule, tie and interval gives each row the class it has after all blocks."""
    final = drive(DactBert().train(), answers, halting)
    best, second = final.answers.topk(2).values.unbind(-1)
    clear = best - second > 1e-5  # nearer than that, rounding decides
    exits = {}
    for rule, tie in RULES:
        for every in (1, 2, 3):
            outcome = drive(running(rule, tie, every), answers, halting)
            same = outcome.answers.argmax(-1) == final.answers.argmax(-1)
            assert same[clear].all()
            exits[rule, tie, every] = torch.tensor(outcome.exits)
            assert all(n % every == 0 or n == answers.shape[1] for n in outcome.exits)
        assert (exits[rule, tie, 1] <= exits[rule, tie, 2]).all()
    assert (exits["tight", "strict", 1] <= exits["paper", "strict", 1]).all()


@settings(max_examples=40)
@given(
    st.integers(2, 4).flatmap(
        lambda classes: st.integers(1, 6).flatmap(
            lambda blocks: st.lists(
                st.lists(
                    st.tuples(
                        st.lists(st.integers(0, 20), min_size=classes, max_size=classes).filter(
                            any
                        ),
                        st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0]),
                    ),
                    min_size=blocks,
                    max_size=blocks,
                ),
                min_size=1,
                max_size=4,
            )
        )
    )
)
def test_exits_never_change_the_class(rows: list[list[tuple[list[int], float]]]) -> None:
    counts = torch.tensor([[y for y, _ in row] for row in rows]).float()
    halting = torch.tensor([[h for _, h in row] for row in rows])
    check_exact(counts / counts.sum(-1, keepdim=True), halting)


@pytest.mark.parametrize(("blocks", "classes"), [(12, 2), (6, 3), (4, 5)])
def test_exits_never_change_the_class_of_many_rows(blocks: int, classes: int) -> None:
    answers = (3 * torch.randn(3000, blocks, classes)).softmax(-1)
    halting = torch.rand(3000, blocks) ** (1 + 4 * torch.rand(3000, 1))
    check_exact(answers, halting)


# -- in the encoder -----------------------------------------------------------------------------

ROWS: list[Row] = tiny_rows()


@pytest.mark.parametrize("family", FAMILY_NAMES)
@pytest.mark.parametrize("make", DROPS.values(), ids=DROPS.keys())
def test_leaving_early_keeps_the_class(make: Callable[[], DactBert], family: str) -> None:
    model, reducer = tiny_model(family), built(make())
    early = run(model, reducer, ROWS)
    whole = run(model, reducer.train(), ROWS)
    assert whole.trace.row_depth().eq(LAYERS).all()
    assert torch.equal(early.logits.argmax(-1), whole.logits.argmax(-1))


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_units_read_the_cls_state_of_every_block(family: str, share: bool) -> None:
    model, reducer = tiny_model(family), built(DactBert(share_units=share, halt_bias=0.5))
    units = list(reducer.units) * (LAYERS if share else 1)
    _, states = padded_forward(model, ROWS)
    starts = [sum(len(row.ids) for row in ROWS[:i]) for i in range(len(ROWS))]
    for index, logits in enumerate(run(model, reducer.train(), ROWS).logits):
        remaining, answer = 1.0, torch.zeros(logits.shape)
        for unit, state in zip(units, states, strict=True):
            cls = state[starts[index]]
            trunk = (unit.trunk.weight @ cls + unit.trunk.bias).clamp_min(0)
            y = (unit.answer.weight @ trunk + unit.answer.bias).softmax(0)
            h = 1 / (1 + math.exp(-(unit.halt.weight[0] @ trunk + unit.halt.bias).item()))
            answer = remaining * y + (1 - remaining) * answer
            remaining *= h
        torch.testing.assert_close(logits.exp(), answer, atol=1e-5, rtol=0)


def test_only_units_answer() -> None:
    encoded = run(tiny_model("bert"), built(DactBert()), ROWS)
    assert encoded.trace.head_states == 0
    assert encoded.logits.exp().sum(-1).tolist() == pytest.approx([1.0] * len(ROWS))


def test_mean_pooling_reads_every_token_of_the_row_alone() -> None:
    model, rows = tiny_model("bert"), tiny_rows()
    reducer = built(DactBert(pooling="mean", check_every=99))
    seen: list[torch.Tensor] = []
    reducer.units[-1].register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    run(model, reducer, rows)
    _, states = padded_forward(model, rows)
    last = states[-1].split([len(row.ids) for row in rows])
    torch.testing.assert_close(seen[0], torch.stack([s.mean(0) for s in last]), atol=1e-5, rtol=0)
