"""Heads that read every token: restored tokens, and exits that answer for whole rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded
from tokendrop.families import family_of
from tokendrop.measure.flops import counted_flops, dense_flops, padding_flops, pass_flops
from tokendrop.models.backbones import shape_of
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.tasks import KINDS, kind_of
from tokendrop.testing.tiny import (
    CLASSES,
    CONFIGS,
    FAMILY_NAMES,
    MAX_TOKENS,
    Row,
    packed,
    padded_inputs,
    tiny_rows,
    tiny_shape,
)

BY_TOKEN = ["token_classification", "question_answering"]
ROWS = tiny_rows()
CLOSE = {"atol": 1e-5, "rtol": 0}


class LastHalf(Reducer):
    """Drops the second half of every row before the second layer, and nothing else."""

    def before_layer(self, view: View) -> Decision | None:
        layout = view.layout
        place = layout.tokens - view.batch.layout.first[layout.rows][layout.row]
        return Decision(keep=2 * place < layout.sizes[layout.row]) if view.layer == 1 else None


def token_model(family: str, kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    config = CONFIGS[family]()
    config.num_labels = 2 if kind == "question_answering" else CLASSES
    model = KINDS[kind].head.auto.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
    return model.eval()


def built(reducer: Reducer, kind: str) -> Reducer:
    torch.manual_seed(0)
    classes = 2 if kind == "question_answering" else CLASSES
    reducer.build(tiny_shape(classes=classes, task=kind))
    return reducer.eval()


def run(model: PreTrainedModel, reducer: Reducer, rows: list[Row]) -> Encoded:
    with torch.no_grad():
        return encode(model, packed(rows), reducer)


def of_hugging_face(model: PreTrainedModel, rows: list[Row]) -> Tensor:
    inputs, real = padded_inputs(model, rows)
    with torch.no_grad():
        out: Any = model(**inputs)
    logits = out.logits if "logits" in out else torch.stack([out.start_logits, out.end_logits], -1)
    return logits[real]


@pytest.mark.parametrize("kind", BY_TOKEN)
@pytest.mark.parametrize("family", FAMILY_NAMES)
class TestEveryFamily:
    def test_with_nothing_dropped_it_is_hugging_face(self, family: str, kind: str) -> None:
        model = token_model(family, kind)
        assert kind_of(model) == kind
        found = run(model, built(Dense(), kind), ROWS)
        torch.testing.assert_close(found.logits, of_hugging_face(model, ROWS), **CLOSE)

    def test_a_dropped_token_is_answered_for_from_its_last_state(
        self, family: str, kind: str
    ) -> None:
        model = token_model(family, kind)
        seen: dict[int, Tensor] = {}

        class Watch(LastHalf):
            def before_layer(self, view: View) -> Decision | None:
                for token, state in zip(view.layout.tokens.tolist(), view.states, strict=True):
                    if view.layer < 2:
                        seen[token] = state
                return super().before_layer(view)

            def after_layer(self, view: View) -> None:
                if view.layer > 0:
                    for token, state in zip(view.layout.tokens.tolist(), view.states, strict=True):
                        seen[token] = state

        found = run(model, built(Watch(), kind), ROWS)
        states = torch.stack([seen[token] for token in range(len(found.logits))])
        expected = family_of(model).read_tokens(model, states)
        torch.testing.assert_close(found.logits, expected.detach(), **CLOSE)
        depth = found.trace.token_depth()
        assert depth.eq(1).any()

    @pytest.mark.parametrize(
        "make",
        [
            LastHalf,
            lambda: DactBert(halt_bias=-4),
            lambda: Chain([LastHalf(), DactBert(halt_bias=-4)]),
        ],
        ids=["drops", "exits", "both"],
    )
    def test_a_row_does_not_see_its_batch(
        self, family: str, kind: str, make: Callable[[], Reducer]
    ) -> None:
        model, reducer = token_model(family, kind), built(make(), kind)
        together = run(model, reducer, ROWS).logits.split([len(row.ids) for row in ROWS])
        for row, expected in zip(ROWS, together, strict=True):
            assert expected.isfinite().all()
            torch.testing.assert_close(run(model, reducer, [row]).logits, expected, **CLOSE)

    def test_the_flops_are_those_that_ran(self, family: str, kind: str) -> None:
        model = token_model(family, kind)
        shape = shape_of(model.config, MAX_TOKENS, kind)
        for reducer in (built(LastHalf(), kind), built(DactBert(halt_bias=-4), kind)):
            encoded = run(model, reducer, ROWS)
            formula = pass_flops(encoded.trace, reducer, model, shape)
            formula += padding_flops(encoded.trace, shape)
            counted, _ = counted_flops(model, packed(ROWS), reducer)
            assert abs(formula - counted) <= 0.01 * counted
        dense = run(model, built(Dense(), kind), ROWS).trace
        whole = dense_flops([len(row.ids) for row in ROWS], model, shape)
        assert pass_flops(dense, built(Dense(), kind), model, shape) == whole


@pytest.mark.parametrize("rule", ["paper", "tight"])
def test_an_exit_changes_no_tag(rule: Any) -> None:
    model = token_model("bert", "token_classification")
    exits = built(DactBert(halt_bias=-4, exit_rule=rule), "token_classification")
    whole = built(DactBert(halt_bias=-4, check_every=99), "token_classification")
    early, late = run(model, exits, ROWS), run(model, whole, ROWS)
    assert early.trace.row_depth().lt(3).any()
    assert torch.equal(early.logits.argmax(-1), late.logits.argmax(-1))


@pytest.mark.parametrize("rule", ["paper", "tight"])
def test_an_exit_changes_no_end_of_a_span(rule: Any) -> None:
    model, kind = token_model("bert", "question_answering"), "question_answering"
    exits = built(DactBert(halt_bias=-5, exit_rule=rule), kind)
    whole = built(DactBert(halt_bias=-5, check_every=99), kind)
    early, late = run(model, exits, ROWS), run(model, whole, ROWS)
    assert early.trace.row_depth().lt(3).any()
    lengths = [len(row.ids) for row in ROWS]
    pairs = zip(early.logits.split(lengths), late.logits.split(lengths), strict=True)
    assert all(torch.equal(a.argmax(0), b.argmax(0)) for a, b in pairs)


@pytest.mark.parametrize("drops", [False, True])
def test_the_mixture_over_the_tokens_of_a_row_sums_to_one(drops: bool) -> None:
    model, kind = token_model("bert", "question_answering"), "question_answering"
    parts: list[Reducer] = [LastHalf()] if drops else []
    reducer = built(Chain([*parts, DactBert(halt_bias=1, check_every=99)]), kind)
    logits = run(model, reducer, ROWS).logits
    sums = torch.stack([x.exp().sum(0) for x in logits.split([len(row.ids) for row in ROWS])])
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-4, rtol=0)


@pytest.mark.parametrize("tolerance", [0.3, 0.05])
def test_an_exit_changes_a_number_by_no_more_than_the_tolerance(tolerance: float) -> None:
    torch.manual_seed(0)
    config = CONFIGS["bert"]()
    config.num_labels = 1
    model = KINDS["regression"].head.auto.from_config(config).eval()

    def of(**arguments: Any) -> Reducer:
        torch.manual_seed(0)
        reducer = DactBert(halt_bias=-2, exit_tolerance=tolerance, **arguments)
        reducer.build(tiny_shape(classes=1, task="regression"))
        reducer.range.copy_(torch.tensor([1.0, 5.0]))
        return reducer.eval()

    early, late = run(model, of(), ROWS), run(model, of(check_every=99), ROWS)
    assert early.trace.row_depth().lt(3).any()
    assert (early.logits - late.logits).abs().max() <= 4 * tolerance
    assert early.logits.min() >= 1
    assert early.logits.max() <= 5


@pytest.mark.parametrize("kind", BY_TOKEN)
def test_every_weight_learns(kind: str) -> None:
    model = token_model("bert", kind)
    reducer = built(Chain([LastHalf(), DactBert()]), kind)
    batch: Batch = packed(ROWS)
    encoded = encode(model.train(), batch, reducer.train())
    (encoded.logits.square().sum() + sum(reducer.losses(encoded).values())).backward()
    for name, parameter in reducer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_searched_configurations_restore_too() -> None:
    """PoWER-BERT drops by rank; the answers of what it dropped are there, and finite."""
    model = token_model("bert", "token_classification")
    found = run(model, built(PowerBert(configuration=[9, 5, 2]), "token_classification"), ROWS)
    assert found.trace.token_depth().eq(0).any()
    assert found.logits.isfinite().all()
