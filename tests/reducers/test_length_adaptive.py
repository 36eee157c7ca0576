"""Length-Adaptive Transformer against hand-computed numbers and the authors' own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tokendrop.engine.attention import attend
from tokendrop.engine.encoder import encode, walk
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded
from tokendrop.errors import UserError
from tokendrop.families import Family
from tokendrop.golden.length_adaptive import check
from tokendrop.heads import SPAN, mean_divergence
from tokendrop.measure.flops import layer_flops
from tokendrop.reducers.base import Reducer, Shape, Step
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.length_adaptive import (
    LengthAdaptive,
    Plan,
    shrinking_lengths,
)
from tokendrop.testing.tiny import (
    CONFIGS,
    LAYERS,
    MAX_TOKENS,
    built,
    packed,
    run,
    tiny_model,
    tiny_rows,
)

KEEPS_ALL = LengthAdaptive
DROPS: dict[str, Callable[[], Reducer]] = {
    "some": lambda: LengthAdaptive(configuration=[12, 6, 2]),
    "late": lambda: LengthAdaptive(configuration=[MAX_TOKENS, MAX_TOKENS, 4]),
    "row_basis": lambda: LengthAdaptive(configuration=[24, 14, 6], length_basis="row"),
}
SOFT_EQUALS_HARD = "tokens are really removed in training too"


def smallest(start: int, layers: int, ratio: float = 0.2) -> list[int]:
    return shrinking_lengths(start, ratio, [0.0] * layers)


# -- lengths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "layers", "ratio", "expected"),
    [
        (384, 12, 0.2, (308, 247, 198, 159, 128, 103, 83, 67, 54, 44, 36, 29)),
        (128, 12, 0.2, (103, 83, 67, 54, 44, 36, 29, 24, 20, 16, 13, 11)),
        (64, 12, 0.2, (52, 42, 34, 28, 23, 19, 16, 13, 11, 9, 8, 7)),
        (25, 12, 0.2, (20, 16, 13, 11, 9, 8, 7, 6, 5, 4, 4, 4)),
        (10, 12, 0.2, (8, 7, 6, 5, *[4] * 8)),
        (384, 12, 0.5, (192, 96, 48, 24, 12, 6, 3, *[2] * 5)),
        (3, 4, 0.9, (2, 2, 2, 2)),
    ],
)
def test_a_fixed_ratio(start: int, layers: int, ratio: float, expected: Sequence[int]) -> None:
    assert smallest(start, layers, ratio) == list(expected)


def test_skipped_layers_repeat_the_length_before() -> None:
    runs = [layer in (0, 2, 3) for layer in range(5)]
    assert shrinking_lengths(384, 0.2, [0.0] * 5, runs) == [308, 308, 247, 198, 198]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (384, (352, 329, 328, 272, 237, 211, 205, 187, 156, 149, 144, 128)),
        (128, (115, 107, 107, 86, 72, 69, 59, 55, 53, 46, 42, 36)),
    ],
)
def test_random_lengths_replay_the_reference(start: int, expected: Sequence[int]) -> None:
    """The reference draws integers; the same integers as shares of the range give its lengths."""
    legacy, draws, length = np.random.RandomState(0), [], start
    for _ in expected:
        lowest = math.ceil(0.8 * length)
        drawn = int(legacy.randint(lowest, length + 1))
        draws.append((drawn - lowest + 0.5) / (length - lowest + 1))
        length = max(2, drawn)
    assert shrinking_lengths(start, 0.2, draws) == list(expected)


@given(
    start=st.integers(1, 600),
    ratio=st.floats(0, 0.99),
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=24),
)
def test_lengths_never_grow_and_stay_in_their_range(
    start: int, ratio: float, draws: list[float]
) -> None:
    before = max(2, start)
    for length in shrinking_lengths(start, ratio, draws):
        assert max(2, math.ceil((1 - ratio) * before)) <= length <= before or length == 2
        before = length


def test_a_draw_is_uniform_over_all_lengths_of_its_range() -> None:
    shares = ((torch.arange(1000) + 0.5) / 1000).tolist()
    counts = np.bincount([shrinking_lengths(10, 0.2, [u])[0] for u in shares])
    assert counts[8:].tolist() == pytest.approx([333, 333, 333], abs=1)


def test_a_configuration_in_row_basis_scales_with_the_row() -> None:
    reducer = built(LengthAdaptive(configuration=[24, 14, 6], length_basis="row"))
    assert isinstance(reducer, LengthAdaptive)
    assert reducer.lengths_of(32) == [24, 14, 6]
    assert reducer.lengths_of(10) == [8, 5, 2]
    assert reducer.lengths_of(3) == [3, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"configuration": [8, 9, 2]}, "grows from 8 to 9"),
        ({"configuration": [8, 4]}, "2 entries"),
        ({"configuration": [8, 4, 1]}, "keep at least 2"),
        ({"length_drop": 1.0}, "length_drop"),
        ({"layer_drop": -0.1}, "layer_drop"),
        ({"random_models": -1}, "random_models"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        built(LengthAdaptive(**arguments))  # type: ignore[arg-type]


# -- what is kept -------------------------------------------------------------------------------

HEADS = (
    [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.25, 0.25, 0.5]],
    [[0.7, 0.1, 0.2], [0.3, 0.2, 0.5], [0.05, 0.85, 0.1]],
)


def test_significance_sums_heads_and_queries_with_the_diagonal() -> None:
    # with unit vectors as keys, a query holds its own logits
    query = torch.stack([torch.tensor(head).log() for head in HEADS], dim=1) * 3**0.5
    key = torch.eye(3)[:, None].expand(-1, 2, -1)
    _, received = attend(query, key, key, Layout.of([3]), received=LengthAdaptive.received)
    assert received is not None
    assert received.tolist() == pytest.approx([1.9, 2.3, 1.8])
    assert float(received.sum()) == pytest.approx(6)


def test_scores_are_asked_for_only_where_something_is_dropped() -> None:
    plan = Plan.of([8, 3], [[8, 4, 4], [8, 4, 4]], [True] * 3)
    assert plan.drops == (False, True, False)
    assert Plan.of([8], [[4, 4, 2]], [False, True, True]).drops == (False, True, True)
    assert Plan.of([3], [[12, 6, 4]], [True] * 3).drops == (False, False, False)


def test_a_configuration_of_whole_rows_is_the_plain_model() -> None:
    rows = tiny_rows()
    whole = run(tiny_model("bert"), built(LengthAdaptive(configuration=[MAX_TOKENS] * 3)), rows)
    assert torch.equal(whole.logits, run(tiny_model("bert"), built(Dense()), rows).logits)


class Stub(Family):
    """Layers that add 10, then 100, and score tokens as they are told."""

    def layers(self, model: object) -> list[int]:
        return [10, 100]

    def embed(self, model: object, batch: Batch) -> Tensor:
        return batch.input_ids[:, None].double()

    def project(self, layer: int, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return hidden[:, None], hidden[:, None], hidden[:, None]

    def close_attention(self, layer: int, context: Tensor, residual: Tensor) -> Tensor:
        return residual

    def feed_forward(self, layer: int, hidden: Tensor) -> Tensor:
        return hidden + layer

    def attention_dropout(self, layer: int) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("keep_cls", "expected"),
    [(False, [10, 1, 112, 3, 14, 115]), (True, [110, 1, 112, 3, 14, 15])],
)
def test_drop_and_restore(
    monkeypatch: pytest.MonkeyPatch, keep_cls: bool, expected: list[float]
) -> None:
    # by position; the second row keeps what it has
    scores = {10: [5, 1, 4, 0, 3, 2, 9, 9], 100: [1, 0, 9, 0, 2, 3, 9, 9]}

    def scored(q: Tensor, k: Tensor, v: Tensor, layout: Layout, **_: object) -> tuple[Tensor, ...]:
        layer = 10 if len(layout.tokens) == 8 else 100
        return v[:, 0], torch.tensor(scores[layer]).float()[layout.tokens]

    monkeypatch.setattr("tokendrop.engine.encoder.family_of", lambda model: Stub())
    monkeypatch.setattr("tokendrop.engine.encoder.attend", scored)
    reducer = LengthAdaptive(configuration=[4, 2], keep_cls=keep_cls)
    reducer.build(Shape(2, 1, 1, 1, 2, 8, head=SPAN))
    batch = Batch.pack([[0, 1, 2, 3, 4, 5], [6, 7]])
    embeddings = torch.tensor([[0.0], [1], [2], [3], [4], [5], [6], [7]], requires_grad=True)
    model = nn.Linear(1, 1).eval()
    restored = walk(model, batch, reducer, embeddings, restore=True).restored  # type: ignore[arg-type]
    assert restored is not None
    assert restored[:, 0].tolist() == [*expected, 116, 117]
    # also a dropped token's last state learns
    restored.sum().backward()
    assert embeddings.grad is not None
    assert embeddings.grad.eq(1).all()


@pytest.mark.parametrize("kind", ["classification", "question_answering"])
def test_the_authors_own_numbers(kind: str) -> None:
    differences = list(check(Path(__file__).parents[1] / "golden" / "length_adaptive" / kind))
    assert len(differences) >= 42
    assert max(difference.value for difference in differences) < 1e-5


# -- training -----------------------------------------------------------------------------------


def test_the_divergence_is_that_of_the_student_from_the_teacher() -> None:
    teacher = torch.tensor([[2.0, 0, -1], [0.5, 0.1, 0]], requires_grad=True)
    student = torch.tensor([[1.0, 1, 0], [0, 0, 2]], requires_grad=True)
    reverse = mean_divergence(student, teacher.detach())
    reverse.backward()
    assert reverse.item() == pytest.approx(0.5282650)
    assert mean_divergence(teacher, student).item() == pytest.approx(0.5063758)
    expected = torch.tensor([[-0.2440, 0.1784, 0.0656], [-0.1070, -0.0857, 0.1928]])
    torch.testing.assert_close(student.grad, expected, atol=5e-5, rtol=0)
    assert teacher.grad is None
    assert mean_divergence(teacher, teacher).item() == pytest.approx(0, abs=1e-7)
    one_logit = mean_divergence(student[:, :1], teacher[:, :1])
    assert one_logit.item() == 0


def record_step(reducer: Reducer, seed: int = 0) -> tuple[list[Encoded], list[dict[str, Tensor]]]:
    """The passes of a training step, and their losses, each followed by a backward pass."""
    torch.manual_seed(seed)
    model, batch, passes = tiny_model("bert", seed=0), packed(tiny_rows()), []
    torch.manual_seed(seed)

    def forward() -> Encoded:
        passes.append(encode(model, batch, reducer))
        return passes[-1]

    step = Step(forward, lambda encoded: nn.functional.cross_entropy(encoded.logits, batch.labels))
    losses = []
    for terms in reducer.training_passes(step):
        held = passes[-1].logits
        held.retain_grad()
        sum(terms.values()).backward()
        assert held.grad is not None
        losses.append(terms)
    return passes, losses


@pytest.mark.parametrize("random_models", [0, 2])
def test_the_sandwich(random_models: int) -> None:
    reducer = built(LengthAdaptive(layer_drop=0.0, random_models=random_models)).train()
    passes, losses = record_step(reducer)
    share = 1 / (random_models + 2)
    assert len(losses) == random_models + 2
    assert [list(terms) for terms in losses] == [["task"], *[["distillation"]] * (len(losses) - 1)]
    full, labels = passes[0], passes[0].batch.labels
    expected = share * nn.functional.cross_entropy(full.logits, labels)
    torch.testing.assert_close(losses[0]["task"], expected)
    for encoded, terms in zip(passes[1:], losses[1:], strict=True):
        distance = mean_divergence(encoded.logits, full.logits.detach())
        torch.testing.assert_close(terms["distillation"], share * distance)
    # full, then smallest, then between
    sizes = [int(encoded.trace.processed_tokens().sum()) for encoded in passes]
    assert max(sizes) == sizes[0] == LAYERS * sum(full.batch.layout.lengths)
    assert min(sizes) == sizes[1]
    lengths = [min(32, n) for n in smallest(MAX_TOKENS, LAYERS)]
    longest = [max(layer.feed_forward.lengths) for layer in passes[1].trace.layers]
    assert longest == lengths
    # behind them it is the full model again, its operating point
    assert not any(reducer.start(full.batch).drops)


def test_without_distillation_the_same_sub_models_learn_from_the_labels() -> None:
    distilled, _ = record_step(built(LengthAdaptive(layer_drop=0.3)).train())
    passes, losses = record_step(built(LengthAdaptive(layer_drop=0.3, sub_models="labelled")))
    for one, other, terms in zip(distilled, passes, losses, strict=True):
        assert one.trace.processed_tokens().tolist() == other.trace.processed_tokens().tolist()
        expected = nn.functional.cross_entropy(other.logits, other.batch.labels) / 4
        torch.testing.assert_close(terms["task"], expected)


def test_without_the_sandwich_all_passes_are_random_and_learn_from_the_labels() -> None:
    reducer = built(LengthAdaptive(layer_drop=0.0, sub_models="random"))
    passes, losses = record_step(reducer)
    assert [list(terms) for terms in losses] == [["task"]] * 4
    sizes = [int(encoded.trace.processed_tokens().sum()) for encoded in passes]
    full, smallest_, *_ = record_step(built(LengthAdaptive(layer_drop=0.0)))[0]
    ends = [int(encoded.trace.processed_tokens().sum()) for encoded in (full, smallest_)]
    assert ends[0] > max(sizes) > min(sizes) > ends[1]


def test_the_teacher_learns_from_the_labels_alone() -> None:
    reducer = built(LengthAdaptive(layer_drop=0.0)).train()
    passes, _ = record_step(reducer)
    logits, labels = passes[0].logits, passes[0].batch.labels
    twin = logits.detach().requires_grad_()
    (nn.functional.cross_entropy(twin, labels) / 4).backward()
    torch.testing.assert_close(logits.grad, twin.grad)


def test_every_pass_skips_its_own_layers_but_never_all() -> None:
    reducer = built(LengthAdaptive(layer_drop=0.7))
    runs = [
        tuple(layer.index for layer in encoded.trace.layers)
        for seed in range(20)
        for encoded in record_step(reducer, seed)[0]
    ]
    assert all(runs)
    assert len(set(runs)) == 2**LAYERS - 1
    teachers = [
        len(record_step(built(LengthAdaptive(layer_drop=0.7, layer_drop_teacher=False)), seed)[0][0]
            .trace.layers)
        for seed in range(5)
    ]  # fmt: skip
    assert teachers == [LAYERS] * 5


def test_a_seed_decides_the_step() -> None:
    one, other, third = (record_step(built(LengthAdaptive()), seed)[0] for seed in (1, 1, 2))
    assert all(torch.equal(a.logits, b.logits) for a, b in zip(one, other, strict=True))
    assert not all(torch.equal(a.logits, b.logits) for a, b in zip(one, third, strict=True))


def test_in_row_basis_short_rows_shrink_in_training() -> None:
    reducer = built(LengthAdaptive(length_basis="row", layer_drop=0.0))
    rows = record_step(reducer)[0][1].trace
    for layer, index in zip(rows.layers, range(LAYERS), strict=True):
        starts = [rows.start.lengths[row] for row in layer.feed_forward.rows.tolist()]
        wanted = [min(n, smallest(n, LAYERS)[index]) for n in starts]
        assert list(layer.feed_forward.lengths) == wanted


def test_attention_dropout_is_on_in_training() -> None:
    model = tiny_model("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5).train()
    model.dropout.p = 0.0
    encode_all = partial(run, model, built(LengthAdaptive(configuration=[6, 4, 2])))
    one, other = (encode_all(tiny_rows([20])).logits for _ in range(2))
    assert not torch.equal(one, other)


# -- costs --------------------------------------------------------------------------------------


def common_formula(tokens: int, lengths: Sequence[int]) -> int:
    shape, total = Shape(12, 768, 12, 3072, 2, 128), 0
    for length in lengths:
        fed = min(tokens, length)
        total += layer_flops([tokens], fed, shape)
        tokens = fed
    return total


def test_costs_by_the_common_formula() -> None:
    assert common_formula(128, [128] * 12) == 22_347_251_712
    assert common_formula(128, smallest(128, 12)) == 7_773_613_056
    assert common_formula(25, [128] * 12) == 4_269_772_800
    # lengths on the padded width hardly touch a short row
    assert common_formula(25, smallest(128, 12)) == 3_752_070_144


def test_a_head_that_reads_every_token_may_lose_cls() -> None:
    """As in the authors' code for questions; its answer is read from the last state it had."""
    rows = tiny_rows([12, 2, 19, 7])
    config = CONFIGS["bert"]()
    config.num_labels = 2
    model = SPAN.auto.from_config(config).eval()
    reducer = built(
        LengthAdaptive(configuration=[8, 4, 2], keep_cls=False), task="question_answering"
    )
    encoded = run(model, reducer, rows)
    assert encoded.logits.shape == (40, 2)
    assert encoded.logits.isfinite().all()
    last, start = encoded.trace.layers[-1].feed_forward, encoded.trace.start
    assert not torch.equal(last.tokens[last.first], start.first[last.rows])
    # but no method may read it then
    exits = built(Chain([reducer, DactBert()]), classes=2, task="question_answering")
    with pytest.raises(UserError, match=r"reads \[CLS\] where .*pooling: mean"):
        run(model, exits, rows)
    means = Chain([reducer, DactBert(pooling="mean")])
    read = run(model, built(means, classes=2, task="question_answering"), rows)
    assert read.logits.isfinite().all()


def test_a_head_that_reads_cls_keeps_it() -> None:
    with pytest.raises(UserError, match="a text classifier reads alone: leave it true"):
        built(LengthAdaptive(keep_cls=False))
