"""PoWER-BERT against hand-computed numbers and a plain row-by-row reference."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tokendrop.engine.attention import attend
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded, Trace
from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Reducer, Shape, Stage, StageContext, View
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import (
    CLASSES,
    LAYERS,
    MAX_TOKENS,
    Row,
    built,
    packed,
    run,
    tiny_model,
    tiny_rows,
)
from tokendrop.training.schedule import learning_rate_factor

KEEPS_ALL = PowerBert
DROPS: dict[str, Callable[[], Reducer]] = {
    "some": lambda: PowerBert(configuration=[12, 6, 2]),
    "to_cls": lambda: PowerBert(configuration=[5, 1, 1]),
    "row_basis": lambda: PowerBert(configuration=[24, 14, 6], retention_basis="row"),
}


def SOFT_EQUALS_HARD() -> tuple[Reducer, Reducer]:
    """r = 1 everywhere weakens nothing, as a configuration of whole rows drops nothing."""
    soft, hard = built(PowerBert()), built(PowerBert(configuration=[MAX_TOKENS] * LAYERS))
    begin_search(soft)
    return soft, hard


def begin_search(reducer: Reducer, steps: int = 10_000, lengths: Sequence[int] = (8,)) -> Stage:
    stage = reducer.stages()[0]
    reducer.enter(stage, StageContext(lengths=torch.tensor(lengths), steps=steps))
    return stage


def built_for(reducer: PowerBert, layers: int, max_tokens: int) -> PowerBert:
    reducer.build(Shape(layers, 8, 2, 16, CLASSES, max_tokens))
    return reducer


def ask(reducer: PowerBert, scores: Sequence[Sequence[float]], layer: int = 0) -> Decision:
    """The decision on rows whose tokens received this much attention."""
    batch = Batch.pack([[0] * len(row) for row in scores])
    received = torch.tensor([score for row in scores for score in row])
    states = torch.zeros(len(received), 8)
    view = View(layer, LAYERS, batch.layout, states, reducer.start(batch), batch, received)
    return reducer.after_attention(view) or Decision()


def kept(reducer: PowerBert, scores: Sequence[Sequence[float]], layer: int = 0) -> list[list[int]]:
    """Places of the surviving tokens in each row."""
    mask = ask(reducer, scores, layer).keep
    if mask is None:
        return [list(range(len(row))) for row in scores]
    return [row.nonzero().flatten().tolist() for row in mask.split([len(row) for row in scores])]


# -- from masses to a configuration -------------------------------------------------------------

MASSES = (64.0, 63.2, 63.9, 40.99, 41.5, 12.0, 12.7, 3.99, 0.4, 0.9, 2.0, 0)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("floor", (64, 63, 63, 40, 40, 12, 12, 3, 1, 1, 1, 1)),
        ("ceil", (64, 64, 64, 41, 41, 12, 12, 4, 1, 1, 1, 1)),
    ],
)
def test_the_search_ends_with_the_configuration_of_the_masses(
    rounding: str, expected: tuple[int, ...]
) -> None:
    reducer = built_for(PowerBert(mass_rounding=rounding), layers=12, max_tokens=64)
    stage = begin_search(reducer)
    with torch.no_grad():
        for retention, mass in zip(reducer.retention, MASSES, strict=True):
            retention.copy_((mass - torch.arange(64)).clamp(0, 1))
    reducer.leave(stage, {})
    assert reducer.configuration == expected


def test_after_the_search_tokens_are_really_removed() -> None:
    reducer = built(PowerBert())
    stage = begin_search(reducer)
    model, rows = tiny_model("bert"), tiny_rows([10, 3])
    assert run(model, reducer, rows).trace.processed_tokens().tolist() == [30, 9]
    with torch.no_grad():
        reducer.retention[:, 4:] = 0
    reducer.leave(stage, {})
    assert run(model, reducer, rows).trace.processed_tokens().tolist() == [12, 9]
    # the configuration travels with the weights
    again = built(PowerBert())
    again.load_state_dict(reducer.state_dict())
    assert again.configuration == (4, 4, 4)


@pytest.mark.parametrize(
    ("configuration", "named"),
    [([8, 9, 2], "grows from 8 to 9"), ([8, 4], "2 entries"), ([8, 0, 0], "keeps 0 tokens")],
)
def test_an_impossible_configuration_is_refused(configuration: list[int], named: str) -> None:
    with pytest.raises(UserError, match=named):
        built(PowerBert(configuration=configuration))


# -- hard extract -------------------------------------------------------------------------------


def test_rows_shorter_than_the_count_stay_whole() -> None:
    reducer = built(PowerBert(configuration=[4, 4, 4]))
    scores = [[0.1, 0.5, 0.2, 0.9, 0.3, 0.8], [0.2, 0.1, 0.7]]
    assert kept(reducer, scores) == [[0, 1, 3, 5], [0, 1, 2]]
    assert [kept(reducer, [row])[0] for row in scores] == kept(reducer, scores)


def test_where_all_stays_the_cure_is_named() -> None:
    assert "retention_basis: row" in PowerBert(configuration=[9, 9, 9]).cure_for_keeping_all()
    scaled = PowerBert(retention_basis="row")
    # on few rows mass_weight alone cannot help, which the search says as it begins
    assert "soft_learning_rate, search_epochs or mass_weight" in scaled.cure_for_keeping_all()


def test_cls_stays_though_it_received_least() -> None:
    scores = [[0.0, 3.0, 2.0, 1.0]]
    assert kept(built(PowerBert(configuration=[2, 2, 2])), scores) == [[0, 1]]
    assert kept(built(PowerBert(configuration=[1, 1, 1])), scores) == [[0]]


def test_of_equal_tokens_the_earlier_stays() -> None:
    reducer = built(PowerBert(configuration=[3, 3, 3]))
    assert kept(reducer, [[0.0, 0.5, 0.7, 0.5, 0.5]]) == [[0, 1, 2]]


def test_row_basis_shrinks_short_rows_too() -> None:
    reducer = built(PowerBert(configuration=[16, 8, 1], retention_basis="row"))
    # of n tokens ceil(n k / 32), at least 1, in every layer counted from the row's first length
    trace = run(tiny_model("bert"), reducer, tiny_rows([32, 10, 3, 1])).trace
    sizes = [
        dict(zip(layer.feed_forward.rows.tolist(), layer.feed_forward.lengths, strict=True))
        for layer in trace.layers
    ]
    assert sizes == [
        {0: 16, 1: 5, 2: 2, 3: 1},
        {0: 8, 1: 3, 2: 1, 3: 1},
        {0: 1, 1: 1, 2: 1, 3: 1},
    ]


def test_each_layer_drops_between_attention_and_feed_forward() -> None:
    reducer = built(PowerBert(configuration=[6, 4, 2]))
    trace = run(tiny_model("bert"), reducer, tiny_rows([9])).trace
    assert [layer.attention.lengths for layer in trace.layers] == [(9,), (6,), (4,)]
    assert [layer.feed_forward.lengths for layer in trace.layers] == [(6,), (4,), (2,)]


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, MAX_TOKENS))
def test_hard_and_soft_pass_equal_a_plain_reference(seed: int, length: int) -> None:
    model, (row,) = tiny_model("bert", seed % 3), tiny_rows([length], seed)
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, MAX_TOKENS + 1, (LAYERS,), generator=generator)
    counts = counts.sort(descending=True).values.tolist()
    hard = built(PowerBert(configuration=counts))
    result = run(model, hard, [row])
    logits, depth = reference(model, row, counts=counts)
    torch.testing.assert_close(result.logits[0], logits, atol=1e-5, rtol=0)
    assert result.trace.token_depth().tolist() == depth

    soft = built(PowerBert())
    begin_search(soft)
    with torch.no_grad():
        soft.retention.copy_(torch.rand(soft.retention.shape, generator=generator))
    result = run(model, soft, [row])
    logits, _ = reference(model, row, retention=soft.retention)
    torch.testing.assert_close(result.logits[0], logits, atol=1e-5, rtol=0)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, MAX_TOKENS))
def test_the_row_basis_spreads_the_vectors_over_each_row(seed: int, length: int) -> None:
    """A row that is stretched to the longest gives each rank the mean of what it covers."""
    model, (row,) = tiny_model("bert", seed % 3), tiny_rows([length], seed)
    soft = built(PowerBert(retention_basis="row"))
    begin_search(soft)
    retention = torch.rand(soft.retention.shape, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        soft.retention.copy_(retention)
    # in steps so fine that each rank and each entry is a whole number of them
    stretched = retention.repeat_interleave(length, 1).unflatten(1, (length, MAX_TOKENS)).mean(-1)
    result = run(model, soft, [row])
    logits, _ = reference(model, row, retention=stretched)
    torch.testing.assert_close(result.logits[0], logits, atol=1e-5, rtol=0)
    # a row's factors sum to what a count means for it, and the loss weighs these sums
    mass = retention.sum(1) * length / MAX_TOKENS
    torch.testing.assert_close(stretched.sum(1), mass)
    expected = soft.mass_weight * float((torch.tensor([1.0, 2.0, 3.0]) * mass).sum())
    assert float(soft.losses(result)["mass"].detach()) == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def reference(
    model: nn.Module,
    row: Row,
    counts: Sequence[int] | None = None,
    retention: Tensor | None = None,
) -> tuple[Tensor, list[int]]:
    """One row of BERT, token by token where that decides: logits, and depth of each token."""
    bert = model.bert
    x = bert.embeddings(torch.tensor([row.ids]), torch.tensor([row.types]))[0]
    alive, depth = list(range(len(x))), [0] * len(x)
    for index, layer in enumerate(bert.encoder.layer):
        attention = layer.attention.self
        heads = attention.num_attention_heads
        q, k, v = (
            part(x).unflatten(1, (heads, -1)).transpose(0, 1)
            for part in (attention.query, attention.key, attention.value)
        )
        probabilities = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
        x = layer.attention.output((probabilities @ v).transpose(0, 1).flatten(1), x)
        mean = probabilities.mean(0)
        scores = [float(mean[:, j].sum() - mean[j, j]) for j in range(len(x))]
        if retention is not None:
            ranking = sorted(range(len(x)), key=lambda j: -scores[j])
            for rank, j in enumerate(ranking):
                x[j] *= retention[index, rank]
        if counts is not None:
            best = sorted(range(1, len(x)), key=lambda j: -scores[j])
            stay = sorted([0, *best[: counts[index] - 1]])
            x, alive = x[stay], [alive[j] for j in stay]
        x = layer.output(layer.intermediate(x), x)
        for j in alive:
            depth[j] = index + 1
    return model.classifier(bert.pooler(x[None]))[0], depth


# -- the score ----------------------------------------------------------------------------------


def significance(rows: Sequence[Sequence[Sequence[float]]], heads: int = 1) -> list[list[float]]:
    """What tokens receive where these are the attention probabilities, the same in each head."""
    lengths = [len(row) for row in rows]
    width = max(lengths)
    log = [torch.tensor(row).log() for row in rows]
    # with unit vectors as keys, a query holds its own logits
    queries = torch.cat([nn.functional.pad(x, (0, width - len(x))) for x in log]) * width**0.5
    keys = torch.cat([torch.eye(n, width) for n in lengths])
    query, key = (x[:, None].expand(-1, heads, -1) for x in (queries, keys))
    _, received = attend(query, key, key, Layout.of(lengths), received=PowerBert.received)
    assert received is not None
    return [part.tolist() for part in received.split(lengths)]


FLIPPED = [[0.5, 0.1, 0.4], [0.1, 0.5, 0.4], [0.2, 0.3, 0.5]]


def test_the_score_is_what_others_pay() -> None:
    rows = [[[0.6, 0.2, 0.2], [0.2, 0.4, 0.4], [0.15, 0.55, 0.3]]]
    assert significance(rows)[0] == pytest.approx([0.35, 0.75, 0.60])
    assert significance(rows, heads=2)[0] == pytest.approx([0.70, 1.50, 1.20])


def test_a_longer_row_beside_it_does_not_flip_the_order() -> None:
    longer = [[0.1, 0.7, 0.1, 0.05, 0.05]] * 5
    for rows in ([FLIPPED], [longer, FLIPPED], [FLIPPED, longer]):
        score = significance(rows)[rows.index(FLIPPED)]
        assert score == pytest.approx([0.3, 0.4, 0.8])
        assert kept(built(PowerBert(configuration=[2, 2, 2])), [score]) == [[0, 2]]


# -- the search ---------------------------------------------------------------------------------


def test_soft_extract_scales_by_rank() -> None:
    reducer = built(PowerBert())
    begin_search(reducer)
    with torch.no_grad():
        reducer.retention[1, :4] = torch.tensor([1, 0.8, 0.5, 0.2])
    decision = ask(reducer, [[0.9, 0.1, 0.5, 0.5], [0.3, 0.6]], layer=1)
    assert decision.keep is None
    assert decision.scale is not None
    assert decision.scale.tolist() == pytest.approx([1, 0.2, 0.8, 0.5, 0.8, 1])


def test_soft_extract_protects_cls_only_if_asked() -> None:
    scores = [[0.1, 0.9, 0.5]]
    for protect, expected in ((False, [0.5, 1.0, 0.8]), (True, [1.0, 0.8, 0.5])):
        reducer = built(PowerBert(soft_keep_cls=protect))
        begin_search(reducer)
        with torch.no_grad():
            reducer.retention[0, :3] = torch.tensor([1.0, 0.8, 0.5])
        scale = ask(reducer, scores).scale
        assert scale is not None
        assert scale.tolist() == pytest.approx(expected)


def mass_loss(reducer: PowerBert) -> Tensor:
    batch = packed(tiny_rows([3]))
    encoded = Encoded(batch, torch.zeros(1, CLASSES), Trace(batch.layout), reducer.start(batch))
    return reducer.losses(encoded)["mass"]


def test_deeper_layers_weigh_more_in_the_mass_loss() -> None:
    reducer = built_for(PowerBert(mass_weight=3e-3), layers=12, max_tokens=64)
    begin_search(reducer)
    assert mass_loss(reducer).item() == pytest.approx(14.976)
    with torch.no_grad():
        reducer.retention[11] = 0
    assert mass_loss(reducer).item() == pytest.approx(14.976 - 3e-3 * 64 * 12)


def test_no_mass_loss_once_tokens_are_removed() -> None:
    reducer = built(PowerBert(configuration=[4, 4, 4]))
    reducer.enter(reducer.stages()[0], StageContext(lengths=torch.tensor([8]), steps=10))
    assert reducer.losses(run(tiny_model("bert"), reducer, tiny_rows([8]))) == {}


@pytest.mark.parametrize(
    ("examples", "batch", "epochs", "steps", "warmup"),
    [(1024, 32, 10, 320, 32), (8550, 128, 3, 201, 20), (3668, 64, 3, 174, 17)],
)
def test_the_rate_peaks_at_the_end_of_the_warm_up_and_then_jumps(
    examples: int, batch: int, epochs: int, steps: int, warmup: int
) -> None:
    assert math.ceil(examples / batch) * epochs == steps
    factor = learning_rate_factor(PowerBert().stages()[0], steps)
    factors = [factor(done) for done in range(steps)]
    assert factors.index(max(factors)) == warmup - 1
    assert max(factors) == 1
    if steps == 320:
        assert [factors[t - 1] for t in (1, 16, 33, 320)] == [0.03125, 0.5, 0.896875, 0]
    if steps == 174:
        assert sum(factors) == pytest.approx(79.379, abs=1e-3)


@pytest.mark.parametrize("mass_weight", [3e-3, 3e-1])
def test_adam_lets_unused_ranks_fall_alike_whatever_the_mass_weight(mass_weight: float) -> None:
    """MRPC, three epochs: no rank, in no layer, falls below .76187."""
    reducer = built(PowerBert(mass_weight=mass_weight, soft_learning_rate=3e-3))
    stage = begin_search(reducer, steps=174)
    (group,) = (g for g in reducer.groups(stage, nn.Linear(1, 1)) if g.name == "retention")
    optimizer = torch.optim.Adam(
        group.parameters.values(), lr=group.learning_rate, betas=stage.betas, eps=stage.eps
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_factor(stage, 174))
    for _ in range(174):
        optimizer.zero_grad()
        mass_loss(reducer).backward()
        optimizer.step()
        reducer.after_step(0)
        schedule.step()
    expected = torch.full_like(reducer.retention, 0.76187)
    torch.testing.assert_close(reducer.retention.detach(), expected, atol=2e-5, rtol=0)


def test_retention_stays_between_nothing_and_everything() -> None:
    reducer = built(PowerBert())
    with torch.no_grad():
        reducer.retention[0, 0], reducer.retention[0, 1] = -0.5, 1.5
    reducer.after_step(0)
    assert reducer.retention[0, :2].tolist() == [0, 1]


def test_a_search_too_short_to_drop_a_rank_warns(caplog: pytest.LogCaptureFixture) -> None:
    reducer = built(PowerBert(soft_learning_rate=3e-3))
    with caplog.at_level(logging.WARNING):
        begin_search(reducer, steps=1000)
        assert not caplog.messages
        begin_search(reducer, steps=174)
    assert "search_epochs" in caplog.text


def test_ranks_that_no_row_uses_may_start_at_zero() -> None:
    reducer = built(PowerBert(retention_init="length_histogram"))
    begin_search(reducer, lengths=[1, 2, 2, 4])
    for retention in reducer.retention.detach():
        assert retention[:5].tolist() == [1.0, 0.75, 0.25, 0.25, 0.0]


def test_attention_probabilities_are_never_dropped_out() -> None:
    model = tiny_model("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5).train()
    model.dropout.p = 0.0
    for reducer in (built(PowerBert()), built(PowerBert(configuration=[6, 4, 2]))):
        one, other = (run(model, reducer, tiny_rows([9, 20])).logits for _ in range(2))
        assert torch.equal(one, other)


def test_a_given_configuration_needs_no_search() -> None:
    assert [s.name for s in PowerBert(configuration=[4, 2, 1]).stages()] == ["retrain"]
    assert [s.name for s in PowerBert().stages()] == ["search", "retrain"]


def test_without_a_search_there_has_to_be_a_configuration() -> None:
    with pytest.raises(UserError, match="search_epochs 0 leaves nothing that says what to drop"):
        built(PowerBert(search_epochs=0))
    assert built(PowerBert(search_epochs=0, configuration=[9, 6, 3])).configuration == (9, 6, 3)


def test_in_the_row_basis_no_rank_is_unused() -> None:
    with pytest.raises(UserError, match=r"retention_init length_histogram .* use ones"):
        built(PowerBert(retention_init="length_histogram", retention_basis="row"))
