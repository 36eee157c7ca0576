"""Token merging: similar tokens of a row become one, counted by how many they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn

from baselines import TokenMerging
from baselines.token_merging import most_similar
from tokendrop.engine.encoder import walk
from tokendrop.engine.layout import Layout
from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.testing.tiny import (
    LAYERS,
    built,
    packed,
    padded_forward,
    run,
    tiny_model,
    tiny_rows,
)


def KEEPS_ALL() -> Reducer:
    return TokenMerging(share=0.0)


DROPS: dict[str, Callable[[], Reducer]] = {
    "tenth": lambda: TokenMerging(share=0.1),
    "half": lambda: TokenMerging(share=0.5),
    "reference": lambda: TokenMerging(share=0.2, order="reference", schedule="constant"),
    "with_exit": lambda: Chain([TokenMerging(share=0.3), DactBert(halt_bias=-2.5)]),
}
SOFT_EQUALS_HARD = "nothing is softened"
ROWS = tiny_rows()


class MergeOnce(Reducer):
    """Merge as told in the first layer, for tests of the encoder."""

    def __init__(
        self, into: list[int], weight: list[float], keep: list[bool] | None = None
    ) -> None:
        super().__init__()
        self.into, self.weight, self.keep = into, weight, keep

    def after_attention(self, view: View) -> Decision | None:
        if view.layer > 0:
            return None
        keep = None if self.keep is None else torch.tensor(self.keep)
        return Decision(keep=keep, into=torch.tensor(self.into), weight=torch.tensor(self.weight))


# -- the matching -------------------------------------------------------------------------------


def greedy(keys: Tensor, merged: int) -> list[int]:
    """The matching of one row as its definition says it, pair by pair."""
    into = list(range(len(keys)))
    nearest = {}
    for one in range(2, len(keys), 2):
        similar = [F.cosine_similarity(keys[one], keys[o], dim=0) for o in range(1, len(keys), 2)]
        best = max(range(len(similar)), key=similar.__getitem__)
        nearest[one] = (float(similar[best]), 2 * best + 1)
    for one in sorted(nearest, key=lambda token: -nearest[token][0])[:merged]:
        into[one] = nearest[one][1]
    return into


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.floats(0, 0.5), st.integers(0, 99))
def test_pairs_are_those_of_the_definition(lengths: list[int], share: float, seed: int) -> None:
    keys = torch.randn(sum(lengths), 6, generator=torch.Generator().manual_seed(seed))
    merged = [min(int(share * n), (n - 1) // 2) for n in lengths]
    assume(any(merged))
    found, _ = most_similar(keys, merged, Layout.of(lengths))
    start = 0
    for length, count, part in zip(lengths, merged, found.split(lengths), strict=True):
        expected = greedy(keys[start : start + length], count)
        assert (part - start).tolist() == expected
        start += length


@given(st.integers(1, 14), st.integers(0, 99), st.integers(1, 3))
def test_in_the_references_order_the_first_set_comes_before_the_second(
    length: int, seed: int, merged: int
) -> None:
    """Two rounds against the code's way: tokens really moved, the unmerged before the others."""
    assume(merged <= (length - 1) // 2)
    generator = torch.Generator().manual_seed(seed)
    keys, order = torch.randn(length, 6, generator=generator), None
    lying = list(range(length))  # as the reference code's tensor has them
    for _ in range(2):
        now = min(merged, (len(lying) - 1) // 2)
        if now == 0:
            break
        pairs = greedy(keys[lying], now)
        expected = {lying[one]: lying[pairs[one]] for one in range(len(lying))}
        alive = sorted(lying)
        layout = Layout.of([len(alive)])
        into, following = most_similar(keys[alive], [now], layout, order)
        assert {one: alive[i] for one, i in zip(alive, into.tolist(), strict=True)} == expected
        stay = [one for one in lying if expected[one] == one]
        lying = [one for i, one in enumerate(lying) if one in stay and i % 2 == 0]
        lying += [one for one in stay if one not in lying]
        places = dict(zip(alive, following.tolist(), strict=True))
        assert sorted(stay, key=places.__getitem__) == lying
        order = torch.tensor([places[one] for one in sorted(stay)])


@pytest.mark.parametrize("schedule", ["constant", "shrinking"])
def test_short_rows_lose_their_share_over_the_layers(schedule: Any) -> None:
    reducer = built(TokenMerging(share=0.1, schedule=schedule))
    trace = run(tiny_model("bert"), reducer, tiny_rows([6, 9, 30])).trace
    lost = {
        original: original - left
        for original, left in zip(
            sorted((6, 9, 30)), sorted(trace.layers[-1].feed_forward.lengths), strict=True
        )
    }
    assert lost == {6: 1, 9: 2, 30: 9 if schedule == "constant" else 8}
    first = sorted(trace.layers[0].feed_forward.lengths)
    assert first == [6, 9, 27]


def test_equal_words_without_positions_find_each_other() -> None:
    model, (row,) = tiny_model("bert"), tiny_rows([7])
    row.ids[:] = [2, 10, 11, 12, 10, 13, 3]
    row.types[:] = [0] * 7
    with torch.no_grad():
        model.base_model.embeddings.position_embeddings.weight.zero_()
    trace = run(model, built(TokenMerging(share=0.15)), [row]).trace
    assert trace.layers[0].feed_forward.tokens.tolist() == [0, 1, 2, 3, 5, 6]


# -- what a merge computes ----------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_merged_token_stands_for_all_it_was_made_of(family: str) -> None:
    """Against a layer by layer pass of Hugging Face's modules, merged by hand."""
    model, (row,) = tiny_model(family), tiny_rows([14])
    reducer, merges, states = built(TokenMerging(share=0.25)), [], []
    decide = reducer.after_attention

    def after_attention(view: View) -> Decision | None:
        merges.append(decide(view))
        return merges[-1]

    reducer.after_attention = after_attention  # type: ignore[method-assign]
    encoded = run(model, reducer, [row])
    assert all(merge is not None for merge in merges)

    bert = family == "bert"
    base = model.base_model
    layers = base.encoder.layer if bert else base.transformer.layer
    batch = packed([row])
    with torch.no_grad():
        types = {"token_type_ids": batch.token_type_ids[None]} if bert else {}
        hidden = base.embeddings(batch.input_ids[None], **types)[0]
        size = torch.ones(len(hidden))
        for layer, merge in zip(layers, merges, strict=True):
            hidden = _attended(layer, hidden, size, bert)
            into = merge.into.tolist()
            stays = [i for i, target in enumerate(into) if i == target]
            groups = [[i for i, target in enumerate(into) if target == s] for s in stays]
            hidden = torch.stack(
                [(size[g, None] * hidden[g]).sum(0) / size[g].sum() for g in groups]
            )
            size = torch.stack([size[group].sum() for group in groups])
            hidden = _fed(layer, hidden, bert)
            states.append(hidden)
        first = hidden[:1]
        if bert:
            expected = model.classifier(base.pooler(first[None]))
        else:
            expected = model.classifier(torch.relu(model.pre_classifier(first)))
    assert float(size.sum()) == 14
    torch.testing.assert_close(encoded.logits, expected, atol=1e-5, rtol=0)


def _attended(layer: nn.Module, hidden: Tensor, size: Tensor, bert: bool) -> Tensor:
    """Attention of one row with log size added to the logits of its keys, and its closing."""
    own = layer.attention.self if bert else layer.attention
    maps = (own.query, own.key, own.value) if bert else (own.q_lin, own.k_lin, own.v_lin)
    heads = own.num_attention_heads if bert else own.n_heads
    q, k, v = (m(hidden).view(len(hidden), heads, -1).transpose(0, 1) for m in maps)
    weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + size.log()).softmax(-1)
    context = (weights @ v).transpose(0, 1).flatten(1)
    if bert:
        return layer.attention.output(context, hidden)
    return layer.sa_layer_norm(own.out_lin(context) + hidden)


def _fed(layer: nn.Module, hidden: Tensor, bert: bool) -> Tensor:
    if bert:
        return layer.feed_forward_chunk(hidden)
    return layer.output_layer_norm(layer.ffn(hidden) + hidden)


def test_positions_of_what_stays_are_the_original_ones() -> None:
    trace = run(tiny_model("bert"), built(TokenMerging(share=0.5)), tiny_rows([9])).trace
    left = trace.layers[0].feed_forward
    assert left.tokens.tolist() == [0, 1, 3, 5, 7]
    assert trace.layers[0].merged


@pytest.mark.parametrize(("length", "left"), [(1, 1), (2, 2), (3, 2), (4, 3), (32, 17)])
def test_at_most_half_of_the_tokens_merge(length: int, left: int) -> None:
    trace = run(tiny_model("bert"), built(TokenMerging(share=0.5)), tiny_rows([length])).trace
    assert trace.layers[0].feed_forward.lengths == (left,)


# -- drop and restore, chains -------------------------------------------------------------------


def test_a_merged_token_is_restored_to_what_it_went_into() -> None:
    model, rows = tiny_model("bert"), tiny_rows([6, 3])
    batch = packed(rows)
    # 2 goes into 1, 4 into 5, 5 is dropped; 8 goes into 7
    reducer = MergeOnce(
        [0, 1, 1, 3, 5, 5, 6, 7, 7],
        [1.0] * 9,
        [True, True, True, True, True, False, True, True, True],
    )
    with torch.no_grad():
        walked = walk(model, batch, reducer, restore=True)
    restored = walked.restored
    assert restored is not None
    place = {token: i for i, token in enumerate(walked.layout.tokens.tolist())}
    assert set(place) == {0, 1, 3, 6, 7}
    for token, target in {0: 0, 1: 1, 2: 1, 3: 3, 6: 6, 7: 7, 8: 7}.items():
        assert torch.equal(restored[token], walked.hidden[place[target]])
    # what was dropped has the state that it entered the layer with, and so has what went into it
    with torch.no_grad():
        embedded = model.base_model.embeddings(
            batch.input_ids[None],
            token_type_ids=batch.token_type_ids[None],
            position_ids=batch.positions[None],
        )[0]
    torch.testing.assert_close(restored[5], embedded[5])
    assert torch.equal(restored[4], restored[5])


def test_what_merged_twice_is_restored_to_the_last() -> None:
    model, rows = tiny_model("bert"), tiny_rows([20])
    with torch.no_grad():
        walked = walk(model, packed(rows), built(TokenMerging(share=0.4)), restore=True)
    assert walked.restored is not None
    ends = {tuple(state.tolist()) for state in walked.hidden}
    assert len(walked.hidden) < 20 // 2
    assert {tuple(state.tolist()) for state in walked.restored} == ends


def test_weights_decide_the_mean() -> None:
    """A token of weight 0 that goes into another leaves no trace behind attention."""
    model, rows = tiny_model("bert"), tiny_rows([4])
    merged = run(model, MergeOnce([0, 1, 1, 3], [1.0, 1.0, 0.0, 1.0]), rows)

    class Drop(Reducer):
        def after_attention(self, view: View) -> Decision | None:
            keep = torch.tensor([True, True, False, True])
            return Decision(keep=keep) if view.layer == 0 else None

    torch.testing.assert_close(merged.logits, run(model, Drop(), rows).logits, atol=1e-5, rtol=0)


def test_two_mergers_do_not_chain() -> None:
    with pytest.raises(UserError, match="merge tokens in the same layer"):
        run(
            tiny_model("bert"),
            built(Chain([TokenMerging(share=0.3), TokenMerging(share=0.3)])),
            ROWS,
        )


def test_beside_a_token_reducer_both_act() -> None:
    from baselines import FirstK

    both = built(Chain([FirstK(configuration=[12, 12, 12]), TokenMerging(share=0.25)]))
    trace = run(tiny_model("bert"), both, tiny_rows([20])).trace
    alone = run(tiny_model("bert"), built(TokenMerging(share=0.25)), tiny_rows([20])).trace
    first = set(alone.layers[0].feed_forward.tokens.tolist())
    assert trace.layers[0].feed_forward.tokens.tolist() == sorted(t for t in first if t < 12)


def test_nothing_is_trained() -> None:
    reducer = built(TokenMerging())
    assert reducer.stages() == []
    assert not list(reducer.parameters())
    logits, _ = padded_forward(tiny_model("bert"), tiny_rows([2, 2]))
    found = run(tiny_model("bert"), reducer, tiny_rows([2, 2]))
    torch.testing.assert_close(found.logits, logits, atol=1e-5, rtol=0)
    assert found.trace.row_depth().tolist() == [LAYERS] * 2


@pytest.mark.parametrize("share", [-0.1, 0.6])
def test_a_share_must_be_possible(share: float) -> None:
    with pytest.raises(UserError, match=f"share {share} is out of range"):
        built(TokenMerging(share=share))
