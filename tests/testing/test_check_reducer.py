"""``check_reducer`` finds what a method can get wrong, and says so."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tokendrop.engine.packed import Batch
from tokendrop.reducers.base import Decision, Encoded, Group, Reducer, Shape, Stage, View
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing import check_reducer
from tokendrop.testing.checks import Make


class LosesCls(Reducer):
    def before_layer(self, view: View) -> Decision | None:
        return Decision(keep=~view.layout.is_first) if view.layer == 1 else None


class SeesTheBatch(Reducer):
    def after_attention(self, view: View) -> Decision:
        norm = view.hidden.norm(dim=-1)
        return Decision(keep=(norm >= norm.mean()) | view.layout.is_first)


class ReadsTheOriginalBatch(Reducer):
    def before_layer(self, view: View) -> Decision | None:
        return Decision(keep=view.batch.positions < 3) if view.layer == 1 else None


class AddsWork(Reducer):
    def build(self, shape: Shape) -> None:
        self.scorer = torch.nn.Linear(shape.hidden, shape.intermediate)

    def before_layer(self, view: View) -> Decision:
        return Decision(key_bias=0 * self.scorer(view.hidden).sum(1))


class NeverLearns(AddsWork):
    pass


class Scales(Reducer):
    def after_attention(self, view: View) -> Decision:
        return Decision(scale=torch.full((len(view.layout.tokens),), 1.001))


class Forgets(Reducer):
    """Its state is neither an argument nor a weight."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        Forgets.made += 1
        self.tokens = 3 + Forgets.made

    def before_layer(self, view: View) -> Decision:
        return Decision(keep=view.batch.positions[view.layout.tokens] < self.tokens)


class LeavesUnanswered(Reducer):
    def after_layer(self, view: View) -> Decision:
        answer = view.cls.new_full((len(view.layout.rows), 3), torch.nan)
        return Decision(leave=torch.ones_like(view.layout.rows, dtype=torch.bool), answer=answer)


class Normalises(Reducer):
    """In fp32 on a processor ``view.hidden`` is the model's own."""

    def before_layer(self, view: View) -> Decision:
        hidden = view.hidden
        hidden /= hidden.norm(dim=-1, keepdim=True)
        return Decision(keep=(hidden[:, 0] > 0) | view.layout.is_first)


class WritesIds(Reducer):
    def after_layer(self, view: View) -> None:
        view.batch.input_ids[view.layout.first] = 0


class Breaks(Reducer):
    def start(self, batch: Batch) -> None:
        raise KeyError("no such thing")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (LosesCls, "[CLS]"),
        (SeesTheBatch, "than in its batch"),
        (ReadsTheOriginalBatch, "view.layout.tokens"),
        (AddsWork, "does flops() count them all?"),
        (Forgets, "loaded again it answers otherwise"),
        (LeavesUnanswered, "after_layer returned a Decision with answer that is NaN somewhere"),
        (Normalises, "before_layer wrote into view.states: work on a copy"),
        (WritesIds, "after_layer wrote into view.batch.input_ids"),
        (Breaks, "KeyError: 'no such thing'"),
        (Dense, "nothing is dropped"),
    ],
)
def test_what_a_dropping_method_gets_wrong(make: Make, complaint: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(complaint)) as found:
        check_reducer(keeps_all=Dense, drops={"mine": make}, families=["bert"])
    assert str(found.value).startswith("drops['mine'] on bert: ")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (Scales, "logits are not Hugging Face's"),
        (lambda: PowerBert(configuration=[12, 8, 3]), "logits are not Hugging Face's"),
        (NeverLearns, "never get a gradient: ['scorer.bias', 'scorer.weight']"),
    ],
)
def test_what_a_method_that_keeps_all_gets_wrong(make: Make, complaint: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(complaint)) as found:
        check_reducer(keeps_all=make, families=["distilbert"])
    assert str(found.value).startswith("keeps_all on distilbert: ")


def test_soft_and_hard_that_differ() -> None:
    with pytest.raises(AssertionError, match="saturated soft pass"):
        check_reducer(
            keeps_all=Dense, soft_equals_hard=lambda: (Dense(), Scales()), families=["bert"]
        )


@pytest.mark.parametrize("given", [{}, {"keeps_all": Dense, "own_head": Dense}])
def test_it_must_know_what_to_compare_with(given: dict[str, Make]) -> None:
    with pytest.raises(TypeError, match="either keeps_all or own_head"):
        check_reducer(**given)  # type: ignore[arg-type]


class Ignores(Reducer):
    """Its group leaves out a term that is misspelt."""

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        return {"length": encoded.logits.sum()}

    def stages(self) -> list[Stage]:
        return [Stage("mine", 1, 1e-3)]

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        weights = dict(backbone.named_parameters())
        return [Group("mine", weights, ignores=frozenset({"lenght"}))]


def test_a_group_ignores_terms_that_there_are() -> None:
    said = r"groups ignore \['lenght'\], but the losses are \['length', 'task'\]"
    with pytest.raises(AssertionError, match=said):
        check_reducer(keeps_all=Ignores, families=["bert"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keeps_all": Dense()}, "keeps_all is a Dense: give a function that makes one"),
        ({"keeps_all": "Dense"}, "keeps_all is a str: give a function"),
        ({"keeps_all": Dense, "drops": {"few": Scales()}}, r"drops\['few'\] is a Scales: give a"),
        ({"keeps_all": Dense, "drops": [Scales]}, "drops by names of yours"),
        ({"keeps_all": Dense, "families": "bert"}, "a list of families"),
        ({"keeps_all": Dense, "families": []}, "a list of families"),
    ],
)
def test_what_it_is_given_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        check_reducer(**given)
