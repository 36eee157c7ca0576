"""Several methods in one model: tokens drop and rows leave."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tokendrop.attention import Received
from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Reducer, Setting, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import CLASSES, LAYERS, built, run, tiny_model, tiny_rows


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


def test_the_recipes_follow_each_other_and_all_losses_count() -> None:
    model = tiny_model("bert")
    reducer = built(Chain([PowerBert(), DactBert()])).train()
    stages = reducer.stages()
    assert [stage.name for stage in stages] == ["0_search", "0_retrain", "1_joint"]
    terms = []
    for stage in stages:
        reducer.enter(stage, Setting(lengths=torch.tensor([8]), steps=10_000))
        terms.append(set(reducer.losses(run(model, reducer, ROWS))))
        with torch.no_grad():
            reducer.parts[0].retention[:, 6:] = 0
        reducer.leave(stage, {})
    assert terms == [{"mass_0", "ponder_1"}, {"ponder_1"}, {"ponder_1"}]
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


def test_the_first_part_that_lets_a_row_leave_answers_it() -> None:
    class Exit(Reducer):
        def __init__(self, row: int, answer: float) -> None:
            super().__init__()
            self.row, self.answer = row, answer

        def after_layer(self, view: View) -> Decision:
            answer = torch.full((len(view.layout.rows), CLASSES), self.answer)
            return Decision(leave=view.layout.rows <= self.row, answer=answer)

    model, rows = tiny_model("bert"), tiny_rows([4, 3, 5])
    encoded = run(model, Chain([Exit(0, 1.0), Exit(1, 2.0)]), rows)
    assert encoded.logits[:2].tolist() == [[1.0] * CLASSES, [2.0] * CLASSES]
    assert encoded.trace.row_depth().tolist() == [1, 1, LAYERS]
    dense = run(model, Dense(), rows).logits
    torch.testing.assert_close(encoded.logits[2], dense[2], atol=1e-5, rtol=0)
