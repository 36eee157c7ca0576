"""Random models, rows and methods: a row is answered alone as in any batch, and as it should be."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

import baselines
from tests.trust.trials import TRIED, tried
from tokendrop.reducers.adapler import AdapLeR
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import (
    CONFIGS,
    FIRST_WORD,
    MAX_TOKENS,
    VOCABULARY,
    Row,
    padded_forward,
    run,
    tiny_model,
    tiny_shape,
)

Draw = Callable[..., Any]
shares = st.floats(0.01, 1.0)
LAYERS = 3


@st.composite
def rows(draw: Draw, unlike: bool) -> list[Row]:
    """One to eight rows of one token up to the longest, with no token twice if they are unlike."""
    lengths = draw(st.lists(st.integers(1, MAX_TOKENS), min_size=1, max_size=8))
    word = st.integers(FIRST_WORD, VOCABULARY - 1)
    found = []
    for length in lengths:
        ids = draw(st.lists(word, min_size=length, max_size=length, unique=unlike))
        second = draw(st.integers(0, length))
        found.append(Row(ids, [int(place >= second) for place in range(length)], 0))
    return found


@st.composite
def token_reducers(draw: Draw, layers: int) -> Reducer:
    """One that drops tokens."""
    kept = sorted(
        draw(st.lists(st.integers(2, MAX_TOKENS), min_size=layers, max_size=layers)), reverse=True
    )
    share, number = draw(shares), draw(st.integers(1, MAX_TOKENS))
    made: list[Callable[[], Reducer]] = [
        lambda: PowerBert(configuration=kept),
        lambda: PowerBert(configuration=kept, retention_basis="row"),
        lambda: LengthAdaptive(configuration=kept),
        lambda: LengthAdaptive(configuration=kept, length_basis="row"),
        lambda: AdapLeR(first_threshold=draw(st.floats(0.01, 1.0))),
        lambda: baselines.AttentionTopK(share),
        lambda: baselines.FirstK(share),
        lambda: baselines.RandomDrop(share),
        lambda: baselines.SaliencyTopK(share),
        lambda: baselines.ThresholdPruning(
            thresholds=draw(st.lists(st.floats(0, 0.2), min_size=layers, max_size=layers))
        ),
        lambda: baselines.Truncation(number),
        lambda: baselines.TokenMerging(min(share, 0.5)),
    ]
    return draw(st.sampled_from(made))()


@st.composite
def exits(draw: Draw, layers: int) -> Reducer:
    """One that lets rows leave."""
    made: list[Callable[[], Reducer]] = [
        lambda: DactBert(halt_bias=draw(st.floats(-5, 5)), tau=draw(st.floats(0, 1))),
        lambda: DactBert(halt_bias=draw(st.floats(-5, 5)), exit_rule="tight", pooling="mean"),
        lambda: baselines.EntropyExit(draw(st.floats(0.01, 1))),
        lambda: baselines.PatienceExit(draw(st.integers(1, 3))),
        lambda: baselines.FewerLayers(draw(st.integers(1, layers))),
    ]
    return draw(st.sampled_from(made))()


@st.composite
def reducers(draw: Draw, layers: int) -> Reducer:
    kind = draw(st.sampled_from(["tokens", "exit", "chain", "dense"]))
    if kind == "dense":
        return Dense()
    if kind == "chain":
        exit_ = draw(exits(layers).filter(lambda x: not isinstance(x, baselines.FewerLayers)))
        return Chain([draw(token_reducers(layers)), exit_])
    return draw(token_reducers(layers) if kind == "tokens" else exits(layers))


@cache
def model_of(family: str) -> PreTrainedModel:
    return tiny_model(family)


@tried(few=60, full=10_000)
@given(st.data(), st.sampled_from(sorted(CONFIGS)), st.integers(0, 99))
def test_alone_and_in_a_batch_it_answers_the_same(
    data: st.DataObject, family: str, seed: int
) -> None:
    reducer, model = data.draw(reducers(LAYERS)), model_of(family)
    # without positions in the embeddings equal tokens score alike, and rounding would choose
    given_rows = data.draw(rows(unlike=family == "modernbert"))
    torch.manual_seed(seed)
    reducer.build(tiny_shape())
    for weight in reducer.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, 0, 0.25)
    reducer.eval()
    together = run(model, reducer, given_rows)
    TRIED[f"passes of an encoder: {type(reducer).__name__}"] += 1
    assert together.logits.isfinite().all()
    depth, order = together.trace.token_depth(), together.batch.layout
    assert depth.min() >= 0
    assert depth.max() <= LAYERS
    if isinstance(reducer, Dense):
        wanted, _ = padded_forward(model, given_rows)
        torch.testing.assert_close(together.logits, wanted, atol=2e-5, rtol=1e-4)
    for number, row in enumerate(given_rows):
        alone = run(model, reducer, [row])
        torch.testing.assert_close(alone.logits[0], together.logits[number], atol=2e-5, rtol=1e-4)
        start = int(order.first[number])
        assert depth[start] > 0, "the first token went"
