"""What each family of backbones has of its own, against Hugging Face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    BertConfig,
    PreTrainedModel,
)

from tokendrop.engine.by_row import row_sum
from tokendrop.engine.encoder import walk
from tokendrop.engine.packed import Batch
from tokendrop.engine.probabilities import Received
from tokendrop.errors import UserError
from tokendrop.families import FAMILIES, family_of, family_of_type
from tokendrop.measure.clock import pad_rows
from tokendrop.measure.flops import counted_flops, dense_flops, padding_flops
from tokendrop.models.backbones import load_backbone, shape_of
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import (
    CLASSES,
    CONFIGS,
    LAYERS,
    MAX_TOKENS,
    built,
    packed,
    padded_forward,
    padded_inputs,
    randomised,
    run,
    tiny_model,
    tiny_rows,
)

ROWS = tiny_rows()
CLOSE = {"atol": 1e-5, "rtol": 0}
each_architecture = pytest.mark.parametrize("family", FAMILIES)


class DropAt(Reducer):
    """Drop given original tokens where they enter a layer."""

    def __init__(self, layer: int, dropped: Tensor) -> None:
        super().__init__()
        self.layer, self.dropped = layer, dropped

    def before_layer(self, view: View) -> Decision | None:
        if view.layer != self.layer:
            return None
        return Decision(keep=~torch.isin(view.layout.tokens, self.dropped))


class Watch(Reducer):
    """Drop nothing, and keep the received attention of every layer."""

    def __init__(self, received: Received) -> None:
        super().__init__()
        self.received = received
        self.seen: list[Tensor] = []

    def after_attention(self, view: View) -> None:
        assert view.received is not None
        self.seen.append(view.received)


# -- heads that read every token ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("auto", "outputs"),
    [(AutoModelForTokenClassification, CLASSES), (AutoModelForQuestionAnswering, 2)],
    ids=["token_classification", "question_answering"],
)
@each_architecture
@torch.no_grad()
def test_heads_that_read_every_token(family: str, auto: Any, outputs: int) -> None:
    config = CONFIGS[family]()
    config.num_labels = outputs
    model = randomised(auto.from_config(config))
    inputs, real = padded_inputs(model, ROWS)
    theirs = model(**inputs)
    expected = (
        theirs.logits
        if outputs == CLASSES
        else torch.stack([theirs.start_logits, theirs.end_logits], -1)
    )
    walked = walk(model, packed(ROWS), Dense(), restore=True)
    assert walked.restored is not None
    logits = family_of(model).read_tokens(model, walked.restored)
    assert logits.shape == (len(walked.restored), outputs)
    torch.testing.assert_close(logits, expected[real], **CLOSE)


# -- what everything rests on -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["with_diagonal", "without_diagonal"])
@each_architecture
@torch.no_grad()
def test_received_attention_of_every_layer(family: str, kind: Received) -> None:
    model = tiny_model(family)
    reducer = built(Watch(kind))
    run(model, reducer, ROWS)
    model.set_attn_implementation("eager")
    inputs, real = padded_inputs(model, ROWS)
    attentions = model(**inputs, output_attentions=True).attentions
    assert len(attentions) == LAYERS
    for mine, probabilities in zip(reducer.seen, attentions, strict=True):
        voted = probabilities * real[:, None, :, None]
        total = voted.sum((1, 2))
        if kind == "without_diagonal":
            total -= voted.diagonal(dim1=2, dim2=3).sum(1)
        torch.testing.assert_close(mine, total[real], **CLOSE)


@each_architecture
@torch.no_grad()
def test_the_padded_side_of_the_clock_is_the_same_model(family: str) -> None:
    model = tiny_model(family)
    ids = [row.ids for row in ROWS]
    padded = pad_rows(ids, model.config.pad_token_id, torch.device("cpu"))
    packed_logits = walk_logits(model, Batch.pack(ids))
    torch.testing.assert_close(packed_logits, model(**padded).logits, **CLOSE)


@each_architecture
@torch.inference_mode()
def test_flops_are_counted_in_inference_mode_too(family: str) -> None:
    model, batch = tiny_model(family), packed(ROWS)
    shape = shape_of(model.config, MAX_TOKENS)
    trace = run(model, Dense(), ROWS).trace
    formula = dense_flops(batch.layout.lengths, model, shape) + padding_flops(trace, shape)
    assert counted_flops(model, batch, Dense())[0] == formula


def walk_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    family, walked = family_of(model), walk(model, batch, Dense())
    return family.classify(model, family.pool(model, walked.hidden, walked.layout))


# -- RoBERTa, ELECTRA, ALBERT -------------------------------------------------------------------


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert", "mpnet"])
def test_positions_of_roberta_begin_behind_the_padding(family: str) -> None:
    model = tiny_model(family, max_position_embeddings=14)
    assert family_of(model).positions(model.config) == 12
    rows = tiny_rows([12, 3])
    # exactly as many as there are
    torch.testing.assert_close(
        run(model, Dense(), rows).logits, padded_forward(model, rows, room=0)[0], **CLOSE
    )
    with pytest.raises(UserError, match="max_length 13 is more than the 12 tokens"):
        shape_of(model.config, 13)


@each_architecture
def test_a_text_may_hold_the_padding_token(family: str) -> None:
    """RoBERTa gives it the padding's position, and the next word the one that it would have had."""
    model = tiny_model(family)
    pad = model.config.pad_token_id or 0
    rows = [
        replace(row, ids=[pad if place in held else id_ for place, id_ in enumerate(row.ids)])
        for row, held in zip(tiny_rows([9, 4, 12, 2]), [{3, 4, 7}, set(), {11}, {0}], strict=True)
    ]
    torch.testing.assert_close(
        run(model, Dense(), rows).logits, padded_forward(model, rows)[0], **CLOSE
    )


def test_electra_as_wide_as_its_embeddings_has_no_projection() -> None:
    model = tiny_model("electra", embedding_size=32)
    assert shape_of(model.config, MAX_TOKENS).projected_embedding == 0
    logits, _ = padded_forward(model, ROWS)
    torch.testing.assert_close(run(model, Dense(), ROWS).logits, logits, **CLOSE)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_albert_shares_its_layers_by_groups(groups: int) -> None:
    model = tiny_model("albert", num_hidden_groups=groups)
    layers = family_of(model).layers(model)
    assert len(layers) == LAYERS
    assert len(set(layers)) == groups
    logits, _ = padded_forward(model, ROWS)
    torch.testing.assert_close(run(model, Dense(), ROWS).logits, logits, **CLOSE)


# -- ModernBERT ---------------------------------------------------------------------------------

LONG = ([30], [32, 9, 20, 4, 31], [150, 90, 3])


def modernbert_by_hand(
    model: Any, row: Sequence[int], dropped: Sequence[int], at: int, pooling: str
) -> Tensor:
    """(classes,) logits of one row: Hugging Face's own layers with masks made here."""
    base, places = model.model, torch.arange(len(row))
    states = base.embeddings(torch.tensor([row]))
    for index, layer in enumerate(base.layers):
        if index == at:
            stay = ~torch.isin(places, torch.tensor(dropped, dtype=torch.long))
            states, places = states[:, stay], places[stay]
        near = (places[:, None] - places).abs() <= model.config.local_attention // 2
        sees = near if layer.attention_type == "sliding_attention" else torch.ones_like(near)
        turn = base.rotary_emb(states, places[None], layer.attention_type)
        states = layer(states, attention_mask=sees[None, None], position_embeddings=turn)
    states = base.final_norm(states)
    pooled = states[:, 0] if pooling == "cls" else states.mean(1)
    return model.classifier(model.head(pooled))[0]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("at", range(LAYERS))
@pytest.mark.parametrize("lengths", LONG, ids=str)
@torch.no_grad()
def test_windows_and_rotary_positions_count_the_tokens_that_came_in(
    lengths: list[int], at: int, pooling: str
) -> None:
    model = tiny_model("modernbert", classifier_pooling=pooling)
    rows = tiny_rows(lengths)
    # of each row the tokens 2, 3, 4, 7, 8, 9, ...: those beside a gap are no neighbours
    gone = [[i for i in range(1, n) if i % 5 >= 2] for n in lengths]
    first = packed(rows).layout.first.tolist()
    dropped = torch.tensor([f + i for f, places in zip(first, gone, strict=True) for i in places])
    logits = run(model, DropAt(at, dropped), rows).logits
    for mine, row, places in zip(logits, rows, gone, strict=True):
        expected = modernbert_by_hand(model, row.ids, places, at, pooling)
        torch.testing.assert_close(mine, expected, **CLOSE)
        left = [token for i, token in enumerate(row.ids) if i not in places]
        if at == 0 and len(row.ids) > 12:  # closing the gaps would be another model
            assert not torch.allclose(
                mine, modernbert_by_hand(model, left, [], at, pooling), atol=1e-2
            )


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modernbert_pools_as_hugging_face_does(pooling: str) -> None:
    model = tiny_model("modernbert", classifier_pooling=pooling)
    logits, _ = padded_forward(model, ROWS)
    torch.testing.assert_close(run(model, Dense(), ROWS).logits, logits, **CLOSE)


@torch.no_grad()
def test_received_attention_comes_from_queries_that_see_the_token() -> None:
    """With queries that see everything they see alike, a token's share tells who saw it."""
    model = tiny_model("modernbert")
    for layer in model.model.layers:
        nn.init.zeros_(layer.attn.Wqkv.weight)
    reducer = built(Watch("with_diagonal"))
    run(model, reducer, tiny_rows([20]))
    whole, windowed = reducer.seen[0], reducer.seen[1]
    torch.testing.assert_close(whole, torch.full((20,), 4.0))
    seen = [[min(19, i + 6) - max(0, i - 6) + 1 for i in range(20)]]
    shares = [4 * sum(1 / seen[0][q] for q in range(20) if abs(q - k) <= 6) for k in range(20)]
    torch.testing.assert_close(windowed, torch.tensor(shares))
    assert float(row_sum(windowed, packed(tiny_rows([20])).layout)) == pytest.approx(80)


def test_rows_inside_the_window_need_no_mask() -> None:
    model = tiny_model("modernbert")
    family = family_of(model)
    sliding = family.layers(model)[1]
    for length, masked in [(7, False), (8, True)]:
        batch = packed(tiny_rows([length, 3]))
        window = family.window(sliding, batch, batch.layout)
        assert (window is not None) == masked
        assert family.window(family.layers(model)[0], batch, batch.layout) is None
    batch = packed(tiny_rows([8, 3]))
    window = family.window(sliding, batch, batch.layout)
    assert window is not None
    assert window.whole
    _, gapped = batch.layout.keep(batch.positions != 2)
    window = family.window(sliding, batch, gapped)
    assert window is not None
    assert not window.whole  # a kernel that counts what is left would see too far
    _, three = batch.layout.keep(batch.layout.row == 1)
    assert family.window(sliding, batch, three) is None  # the long row has left


# -- MPNet --------------------------------------------------------------------------------------


def mpnet_by_hand(model: Any, row: Sequence[int], dropped: Sequence[int], at: int) -> Tensor:
    """(classes,) logits of one row: Hugging Face's own layers, told of the original places."""
    encoder, places = model.mpnet.encoder, torch.arange(len(row))
    states = model.mpnet.embeddings(torch.tensor([row]))
    for index, layer in enumerate(encoder.layer):
        if index == at:
            stay = ~torch.isin(places, torch.tensor(dropped, dtype=torch.long))
            states, places = states[:, stay], places[stay]
        bucket = encoder.relative_position_bucket(places - places[:, None])
        bias = encoder.relative_attention_bias(bucket).permute(2, 0, 1)
        (states,) = layer(states, position_bias=bias[None])
    return model.classifier(states)[0]


@pytest.mark.parametrize("at", [0, LAYERS - 1])
@torch.no_grad()
def test_relative_positions_count_the_tokens_that_came_in(at: int) -> None:
    model = tiny_model("mpnet", max_position_embeddings=200)
    rows = tiny_rows([150, 31, 4])  # from 91 places on, all distances share a bucket
    gone = [[i for i in range(1, len(row.ids)) if i % 5 >= 2] for row in rows]
    first = packed(rows).layout.first.tolist()
    dropped = torch.tensor([f + i for f, places in zip(first, gone, strict=True) for i in places])
    logits = run(model, DropAt(at, dropped), rows).logits
    for mine, row, places in zip(logits, rows, gone, strict=True):
        torch.testing.assert_close(mine, mpnet_by_hand(model, row.ids, places, at), **CLOSE)


# -- what is refused ----------------------------------------------------------------------------


def test_an_architecture_that_nobody_described() -> None:
    with pytest.raises(UserError, match=r"'gpt2' are not supported.* albert, bert, camembert"):
        family_of_type("gpt2")


@pytest.mark.parametrize(
    ("family", "changes", "named"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ("roberta", {"is_decoder": True}, "is_decoder True"),
        ("electra", {"add_cross_attention": True}, "add_cross_attention True"),
        ("albert", {"inner_group_num": 2}, "inner_group_num 2"),
        ("mpnet", {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets 64"),
    ],
)
def test_settings_that_would_be_computed_wrongly(
    family: str, changes: dict[str, Any], named: str
) -> None:
    model = tiny_model(family)
    for name, value in changes.items():
        setattr(model.config, name, value)
    with pytest.raises(UserError, match=named):
        shape_of(model.config, MAX_TOKENS)


def test_rotary_positions_that_depend_on_the_batch() -> None:
    model = tiny_model("modernbert")
    model.config.rope_parameters["full_attention"]["rope_type"] = "dynamic"
    with pytest.raises(UserError, match="rope_type 'dynamic'"):
        shape_of(model.config, MAX_TOKENS)


def test_they_are_refused_before_any_weights_are_read(tmp_path: Any) -> None:
    BertConfig(position_embedding_type="relative_key_query").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="'relative_key_query'"):
        load_backbone(str(tmp_path), ["no", "yes"])
