"""A decision that cannot be done is refused by name, whoever asks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tokendrop.engine.encoder import encode
from tokendrop.errors import UserError
from tokendrop.heads import TAG
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import CLASSES, CONFIGS, packed, run, tiny_model, tiny_rows

ROWS = tiny_rows([3, 4, 4])  # 11 tokens


class Mine(Reducer):
    """Answers with what it is given at one moment of the second layer."""

    def __init__(self, moment: str, answer: Any) -> None:
        super().__init__()
        self.moment, self.answer = moment, answer

    def _answer(self, moment: str, view: View) -> Any:
        asked = moment == self.moment and view.layer == 1
        return self.answer(view) if asked else None

    def before_layer(self, view: View) -> Any:
        return self._answer("before_layer", view)

    def after_attention(self, view: View) -> Any:
        return self._answer("after_attention", view)

    def after_layer(self, view: View) -> Any:
        return self._answer("after_layer", view)


def mask(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.bool)


WRONG: list[tuple[str, Callable[[View], Any], str]] = [
    ("before_layer", lambda view: mask(11), "a Tensor: return a Decision, or None"),
    ("before_layer", lambda view: False, "a bool: return a Decision, or None"),
    (
        "before_layer",
        lambda view: Decision(scale=torch.ones(11)),
        "a Decision with scale, which does nothing there: return it from after_attention or "
        "after_layer",
    ),
    (
        "after_layer",
        lambda view: Decision(keep=mask(11)),
        "a Decision with keep, which does nothing there: return it from before_layer or "
        "after_attention",
    ),
    (
        "after_attention",
        lambda view: Decision(skip=True),
        "a Decision with skip, which does nothing there: return it from before_layer",
    ),
    (
        "before_layer",
        lambda view: Decision(keep=mask(3)),
        "a Decision with keep of shape [3]: give one value for each of the 11 live tokens, which "
        "are view.layout.tokens of the batch",
    ),
    ("before_layer", lambda view: Decision(keep=mask(11, 1)), "keep of shape [11, 1]: give one"),
    ("after_attention", lambda view: Decision(scale=torch.ones(())), "scale of shape []: give one"),
    (
        "before_layer",
        lambda view: Decision(keep=torch.ones(11)),
        "a Decision with keep in torch.float32: it must be in torch.bool",
    ),
    (
        "before_layer",
        lambda view: Decision(keep=[True] * 11),  # type: ignore[arg-type]
        "a Decision with keep, a list: use a torch.Tensor",
    ),
    (
        "before_layer",
        lambda view: Decision(keep=mask(11).to("meta")),
        "a Decision with keep on meta, but the states are on cpu: make it there",
    ),
    (
        "before_layer",
        lambda view: Decision(keep=mask(11), counts=torch.tensor([3, 4, 4])),  # type: ignore[arg-type]
        "a Decision with counts, a Tensor: use a list of whole numbers",
    ),
    (
        "before_layer",
        lambda view: Decision(keep=mask(11), counts=[11]),
        "a Decision with counts of shape [1]: give one value for each of the 3 live rows, which "
        "are view.layout.rows of the batch",
    ),
    (
        "before_layer",
        lambda view: Decision(skip=torch.tensor(True)),  # type: ignore[arg-type]
        "a Decision with skip, a Tensor: use True or False",
    ),
    (
        "after_layer",
        lambda view: Decision(leave=mask(3)),
        "a Decision with leave but without answer: give both, or neither",
    ),
    (
        "after_attention",
        lambda view: Decision(into=torch.arange(11)),
        "a Decision with into but without weight: give both, or neither",
    ),
    (
        "before_layer",
        lambda view: Decision(keep=mask(11), skip=True),
        "a Decision with skip beside keep, which a layer that is passed over has not: give one",
    ),
    (
        "before_layer",
        lambda view: Decision(key_bias=torch.zeros(11), skip=True),
        "a Decision with skip beside key_bias",
    ),
    (
        "before_layer",
        lambda view: Decision(counts=[3, 2, 4]),
        "a Decision with counts alone: they say how many tokens keep, into or leave let stay",
    ),
    (
        # which says that every token stays
        "before_layer",
        lambda view: Decision(keep=view.batch.positions < 3, counts=[3, 4, 4]),
        "a Decision with counts [3, 4, 4] where [3, 3, 3] stay: give these, or no counts",
    ),
    (
        "after_attention",
        lambda view: Decision(keep=mask(11), counts=[3, 5, 3]),
        "a Decision with counts [3, 5, 3] for rows of [3, 4, 4] tokens: use whole numbers",
    ),
    (
        "after_attention",
        lambda view: Decision(keep=mask(11), counts=[3.0, 4.0, 4.0]),  # type: ignore[list-item]
        "a Decision with counts [3.0, 4.0, 4.0] for rows of [3, 4, 4] tokens",
    ),
    (
        "before_layer",
        lambda view: Decision(keep=mask(11), counts=["3", None, "4"]),  # type: ignore[list-item]
        "a Decision with counts ['3', None, '4'] for rows of [3, 4, 4] tokens: use whole numbers",
    ),
    (
        "before_layer",
        lambda view: Decision(keep=view.layout.is_first, counts=[True] * 3),
        "a Decision with counts [True, True, True] for rows of [3, 4, 4] tokens",
    ),
    (
        # which would be added to the padding of short rows as well
        "before_layer",
        lambda view: Decision(key_bias=mask(11)),
        "a Decision with key_bias in torch.bool: it is added to logits, so use a floating-point",
    ),
    (
        "before_layer",
        lambda view: Decision(key_bias=torch.ones(11).long()),
        "in torch.int64: it is",
    ),
    (
        "after_layer",
        lambda view: Decision(
            leave=view.layout.rows == 1, counts=[3, 4, 0], answer=torch.zeros(3, CLASSES)
        ),
        "a Decision with counts [3, 4, 0] where leave says [3, 0, 4]: give these, or no counts",
    ),
    (
        "after_attention",
        lambda view: Decision(into=torch.arange(11) + 1, weight=torch.ones(11)),
        "a Decision with into beyond the 11 live tokens",
    ),
    (
        "after_attention",
        lambda view: Decision(into=(torch.arange(11) - 1).clamp_min(0), weight=torch.ones(11)),
        "a Decision with into a token that goes into another itself: merge into one that stays",
    ),
    (
        "after_attention",
        lambda view: Decision(into=torch.arange(11) % 10, weight=torch.ones(11)),
        "a Decision with into a token of another row: merge inside a row",
    ),
    (
        "after_layer",
        lambda view: Decision(leave=mask(3), answer=torch.zeros(11, CLASSES)),
        f"a Decision with answer of shape [11, {CLASSES}]: give the logits for each of the 3 live",
    ),
]


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize(("moment", "answer", "complaint"), WRONG)
def test_what_a_reducer_may_not_return(
    moment: str, answer: Callable[[View], Any], complaint: str, chained: bool
) -> None:
    reducer: Reducer = Mine(moment, answer)
    if chained:  # which names the part that is wrong
        reducer = Chain([Dense(), reducer])
    with pytest.raises(UserError, match=re.escape(complaint)) as found:
        run(tiny_model("bert"), reducer, ROWS)
    assert str(found.value).startswith(f"Mine.{moment} returned a ")


def test_an_answer_has_the_outputs_of_the_task() -> None:
    every = Mine("after_layer", lambda view: Decision(leave=mask(3), answer=torch.zeros(3, 7)))
    with pytest.raises(UserError, match=f"answer of 7 logits, but the task has {CLASSES}: make"):
        run(tiny_model("bert"), every, ROWS)


def test_where_tokens_have_answers_so_have_those_of_the_batch() -> None:
    def leaving(answers: int) -> Mine:
        answer = torch.zeros(answers, CLASSES)
        return Mine("after_layer", lambda view: Decision(leave=mask(3), answer=answer))

    model = TAG.auto.from_config(CONFIGS["bert"]()).eval()
    assert encode(model, packed(ROWS), leaving(11)).logits.shape == (11, CLASSES)
    with pytest.raises(UserError, match="logits for each of the 11 tokens of the batch"):
        encode(model, packed(ROWS), leaving(3))


def test_a_row_has_a_token_to_the_end() -> None:
    """It would have no answer, which is no number, if it went with nothing left."""
    for model in (tiny_model("bert"), TAG.auto.from_config(CONFIGS["bert"]()).eval()):
        for gone in (1, 3):  # one row, or all
            some = Mine(
                "after_attention", lambda view, gone=gone: Decision(keep=view.layout.row >= gone)
            )
            with pytest.raises(UserError, match=r"Mine dropped all tokens of a row.*is_first"):
                encode(model, packed(ROWS), some)


def test_a_layer_that_a_part_of_a_chain_skips_drops_nothing() -> None:
    skips = Mine("before_layer", lambda view: Decision(skip=True))
    drops = Mine("before_layer", lambda view: Decision(keep=view.batch.positions < 2))
    chained = run(tiny_model("bert"), Chain([drops, skips]), ROWS)
    assert torch.equal(chained.logits, run(tiny_model("bert"), skips, ROWS).logits)


def test_the_token_that_the_head_reads_stays() -> None:
    every = Mine("before_layer", lambda view: Decision(keep=~view.layout.is_first))
    with pytest.raises(UserError, match=r"Mine dropped the \[CLS\] token of a row.*is_first"):
        run(tiny_model("bert"), every, ROWS)
