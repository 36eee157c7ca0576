"""Answers of every kind of task for a text, as a user asks for them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from transformers import BertTokenizer, PreTrainedTokenizerFast

import tokendrop
from baselines import EntropyExit
from tokendrop.data.batching import Batches
from tokendrop.data.split import Split
from tokendrop.data.tokens import Tokeniser
from tokendrop.errors import UserError
from tokendrop.models.model import TokenDropModel
from tokendrop.models.prediction import tokenised
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.tasks import KINDS
from tokendrop.testing.tiny import CONFIGS, LAYERS, VOCABULARY

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ada", "##m", "lives", "in", "bern", "where"]
PAIR = ("where lives adam", "adam lives in bern")


def model_of(kind: str, labels: list[str], reducer: Reducer) -> TokenDropModel:
    torch.manual_seed(3)
    config: Any = CONFIGS["bert"]()
    config.id2label = dict(enumerate(labels))
    backbone = KINDS[kind].head.auto.from_config(config).eval()
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    vocabulary |= {f"x{i}": i for i in range(len(WORDS), VOCABULARY)}
    return TokenDropModel(backbone, reducer, BertTokenizer(vocab=vocabulary), 12).eval()


def split_of(model: TokenDropModel, text: tuple[str, ...]) -> Split:
    """A text as the model is asked for it."""
    kind, tokeniser = KINDS[model.answering.kind], Tokeniser(model.tokenizer, 12)
    ((_, split),) = tokenised([text], kind, tokeniser, model.labels, model.answering)
    return split


@pytest.mark.parametrize("reducer", [Dense(), PowerBert(configuration=[6, 4, 2])], ids=str)
def test_every_word_gets_a_tag(reducer: Reducer, tmp_path: Path) -> None:
    model = model_of("token_classification", ["O", "B-PER", "I-PER"], reducer)
    texts = ["adam lives in bern", "adam " * 30]
    short, long = model.predict(texts)
    assert len(short.label.split()) == 4
    assert set(short.label.split()) <= {"O", "B-PER", "I-PER"}
    assert short.probabilities == {}
    # [CLS] and [SEP] leave ten places, two for each of these words
    tags = long.label.split()
    assert len(tags) == 30
    assert tags[5:] == ["O"] * 25
    model.save_pretrained(tmp_path / "model")
    assert tokendrop.load(tmp_path / "model").predict(texts) == [short, long]


def test_a_word_has_the_tag_of_its_first_piece() -> None:
    model = model_of("token_classification", ["O", "B-PER", "I-PER"], Dense())
    (found,) = model.predict(["bern adam"])
    assert found.tokens == ["[CLS]", "bern", "ada", "##m", "[SEP]"]
    ids = torch.tensor([[2, 9, 5, 6, 3]])
    best = model.backbone(ids).logits[0].argmax(-1).tolist()
    assert found.label.split() == [model.labels[best[1]], model.labels[best[2]]]


def test_an_answer_is_a_span_of_the_context() -> None:
    model = model_of("question_answering", ["LABEL_0", "LABEL_1"], Dense())
    (found,) = model.predict([PAIR])
    assert found.label
    assert found.label in PAIR[1]
    # the best of all spans, counted out
    out = model.backbone(
        torch.tensor([[2, 10, 7, 5, 6, 3, 5, 6, 7, 8, 9, 3]]),
        token_type_ids=torch.tensor([[0] * 6 + [1] * 6]),
    )
    start, end = out.start_logits[0], out.end_logits[0]
    spans = [(i, j) for i in range(6, 11) for j in range(i, 11)]
    first, last = max(spans, key=lambda span: start[span[0]] + end[span[1]])
    places = [(0, 3), (3, 4), (5, 10), (11, 13), (14, 18)]
    assert found.label == PAIR[1][places[first - 6][0] : places[last - 6][1]]


@pytest.mark.parametrize("text", ["where lives adam", ("where lives adam", "  ")])
def test_a_question_needs_a_context(text: Any) -> None:
    model = model_of("question_answering", ["LABEL_0", "LABEL_1"], Dense())
    with pytest.raises(UserError, match="text 2 of 2 is a question without a context"):
        model.predict([PAIR, text])


@pytest.mark.parametrize(
    "pair", [("where lives adam " * 9, "adam lives in bern"), ("where lives adam", "\u200b")]
)
def test_odd_pairs_are_answered(pair: Any) -> None:
    model = model_of("question_answering", ["LABEL_0", "LABEL_1"], Dense())
    odd, usual = model.predict([pair, PAIR])
    assert odd.label in pair[1]
    assert [usual] == model.predict([PAIR])


def test_other_white_space_is_a_part_of_a_word() -> None:
    model = model_of("token_classification", ["O", "B-PER", "I-PER"], Dense())
    (found,) = model.predict(["adam\u00a0lives\u2028in  bern\tin\nbern "])
    assert len(found.label.split()) == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_row_whose_numbers_are_not_finite_has_no_answer(
    kind: str, odd: float, caplog: pytest.LogCaptureFixture
) -> None:
    labels = ["O", "B-PER"] if KINDS[kind].named else ["LABEL_0", "LABEL_1"][: 1 + (kind[0] == "q")]
    model = model_of(kind, labels, PowerBert(configuration=[4, 3, 3]))
    other = ("lives adam in", "bern in adam lives in")
    (before,) = model.predict([other])
    with torch.no_grad():
        model.backbone.get_input_embeddings().weight[WORDS.index("where")] = odd
    spoiled, found = model.predict([PAIR, other])
    assert (spoiled.label, spoiled.probabilities, spoiled.value) == ("", {}, None)
    assert before.label == found.label != ""
    assert (found.value is not None) == (kind == "regression")
    assert before.probabilities == pytest.approx(found.probabilities)
    assert re.search(r"1 of \d rows have no answer", caplog.text)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_not_finite_are_not_scored(kind: str) -> None:
    task = KINDS[kind]
    names = ["O", "B-PER"] if task.named else []
    model = model_of(kind, task.output_names(names), Dense())
    split = split_of(model, PAIR)
    scores = task.pose({}, names, names, task.metrics[-1], None).scores(split)
    (batch,) = Batches(split, [[0]])
    logits = model(batch).logits
    logits[0, 0] = math.nan
    scores.update(logits, batch)
    with pytest.raises(UserError, match=r"not finite in 1 of 1 batches.*are all of its weights"):
        scores.compute()


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        ("B-two words", "has the tag 'B-two words', but answers have"),
        (" ", "has no name for the class 1"),
        ("", "has no name for the class 1"),
    ],
)
def test_a_tag_that_would_look_like_several_or_none_is_refused(
    tag: str, told: str, tmp_path: Path
) -> None:
    model_of("token_classification", ["O", tag], Dense()).save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match=f"id2label in .* {told}"):
        tokendrop.load(tmp_path / "model")


def test_an_answer_begins_with_its_first_word() -> None:
    """Also where the tokenizer counts the blank before a word as the word's own."""
    backend = Tokenizer(
        WordLevel({word: n for n, word in enumerate([*WORDS, "_in", "_bern"])}, "[UNK]")
    )
    backend.pre_tokenizer = Metaspace(replacement="_", prepend_scheme="never")
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    model = model_of("question_answering", ["LABEL_0", "LABEL_1"], Dense())
    model = TokenDropModel(model.backbone, Dense(), tokenizer, 12).eval()
    split = split_of(model, ("where", "in in bern"))
    assert split.windows
    assert split.windows[0].offsets.tolist()[3:6] == [[0, 2], [2, 5], [5, 10]]
    answers = KINDS["question_answering"].answers(split, [], model.answering)
    (batch,) = Batches(split, [[0]])
    logits = torch.zeros(len(batch.input_ids), 2)
    logits[4, 0] = logits[5, 1] = 9.0
    answers.update(logits, batch)
    assert answers[0].label == "in bern"


@pytest.mark.parametrize(
    ("texts", "size", "says"),
    [
        (["adam"], 0, "batch_size 0 cannot be used"),
        (["adam"], -1, "batch_size -1 cannot be used"),
        (["adam"], None, "batch_size None cannot be used"),
        (["adam"], 2.5, "batch_size 2.5 cannot be used"),
        (["adam"], np.zeros((2, 2)), r"batch_size array\(\[\[0., 0.\], \[0., 0.\]\]\) cannot"),
        (None, 2, "takes a list of texts, not None"),
        ("adam", 2, r"takes a list of texts, not one text: predict\(\['adam'\]\)"),
        ({"text": "adam"}, 2, "takes a list of texts, not {'text': 'adam'}"),
        ({"adam"}, 2, "takes a list of texts, not {'adam'}"),
        (pd.DataFrame({"text": ["adam"], "id": [1]}), 2, r"not a table: .*columns \(text, id\)"),
        ([None], 2, "text 1 of 1 is None: give a text"),
        (["adam", 7], 2, "text 2 of 2 is 7: give a text"),
        (np.array([["in"], ["bern"]]), 2, r"text 1 of 2 is array\(\['in'\], dtype='<U4'\): give"),
        (["adam", ["a", "b"]], 2, r"text 2 of 2 is \['a', 'b'\]: give a text, or a tuple of two"),
        ([("adam", None)], 2, r"text 1 of 1 is \('adam', None\): give a text, or a tuple of two"),
        ([("adam", "in", "bern")], 2, "text 1 of 1 has 3 parts"),
        (["adam \ud83d"], 2, r"text 1 of 1 has half a character, \\ud83d, at place 6"),
    ],
)
def test_what_is_no_text_is_refused(texts: Any, size: Any, says: str) -> None:
    model = model_of("regression", ["LABEL_0"], Dense())
    with pytest.raises(UserError, match=says):
        model.predict(texts, size)
    says = re.sub(r" of \d", "", says).replace("predict\\(", "predict_each\\(")
    with pytest.raises(UserError, match=says):
        list(model.predict_each(texts, size))


def test_a_batch_size_may_be_one_of_numpys() -> None:
    model = model_of("regression", ["LABEL_0"], Dense())
    texts = ["adam", "in", "bern"]
    assert len(model.predict(texts, np.int64(2))) == len(texts)  # type: ignore[arg-type]


def test_a_regression_answers_with_its_number(tmp_path: Path) -> None:
    model = model_of("regression", ["LABEL_0"], Dense())
    (found,) = model.predict([PAIR])
    assert found.probabilities == {}
    assert found.row_depth == LAYERS
    ids = torch.tensor([[2, 10, 7, 5, 6, 3, 5, 6, 7, 8, 9, 3]])
    types = torch.tensor([[0] * 6 + [1] * 6])
    expected = model.backbone(ids, token_type_ids=types).logits.item()
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert float(found.label) == pytest.approx(expected, abs=1e-3)
    model.save_pretrained(tmp_path / "model")
    assert tokendrop.load(tmp_path / "model").shape.task == "regression"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (1e-5, "1e-05"),
        (-0.01234, "-0.0123"),
        (0.0, "0.000"),
        (0.1236, "0.124"),
        (123.5, "123.500"),
    ],
)
def test_a_small_number_is_seen(number: float, shown: str) -> None:
    model: Any = model_of("regression", ["LABEL_0"], Dense())
    with torch.no_grad():
        model.backbone.classifier.weight.zero_()
        model.backbone.classifier.bias.fill_(number)
    (found,) = model.predict([PAIR])
    assert found.value == pytest.approx(number)
    assert found.label == shown


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_model_that_is_cast_decides_in_fp32(kind: torch.dtype) -> None:
    chain = Chain([PowerBert(configuration=[6, 4, 2]), EntropyExit(threshold=0.9)])
    model = model_of("classification", ["bad", "good"], chain)
    (exact,) = model.predict(["adam lives in bern"])
    (found,) = model.to(kind).predict(["adam lives in bern"])
    assert model.backbone.dtype == kind
    assert {weight.dtype for weight in model.reducer.parameters()} == {torch.float32}
    assert found.probabilities == pytest.approx(exact.probabilities, abs=0.02)


def test_weights_in_bf16_answer_alike(tmp_path: Path) -> None:
    made = model_of("classification", ["bad", "good"], PowerBert(configuration=[6, 4, 2]))
    made.save_pretrained(tmp_path / "model")
    (exact,) = tokendrop.load(tmp_path / "model").predict(["adam lives in bern"])
    half = tokendrop.load(tmp_path / "model", device="cpu", dtype="bf16")
    assert half.backbone.dtype == torch.bfloat16
    (found,) = half.predict(["adam lives in bern"])
    assert found.label == exact.label
    assert found.probabilities == pytest.approx(exact.probabilities, abs=0.02)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "gpu"}, "unknown device 'gpu': use cpu, cuda or cuda:N"),
        ({"device": "cuda"}, "sees no GPU here"),
        ({"device": "mps"}, "device mps is not supported: use cpu, cuda or cuda:N"),
        ({"device": "meta"}, "device meta is not supported"),
        ({"dtype": "fp16"}, "unknown dtype 'fp16'"),
        ({"dtype": torch.float32}, "unknown dtype 'torch.float32'"),
        ({"trust_reducer": "false"}, "trust_reducer is 'false': use True or False"),
        ({"trust_reducer": 1}, "trust_reducer is 1: use True or False"),
    ],
)
def test_where_it_cannot_run_is_said_in_one_line(
    options: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    model_of("classification", ["bad", "good"], Dense()).save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match=re.escape(said)):
        tokendrop.load(tmp_path / "model", **options)


@pytest.mark.gpu
def test_on_a_gpu_in_bf16_it_answers_alike(tmp_path: Path) -> None:
    reducer = PowerBert(configuration=[6, 4, 2])
    model_of("classification", ["bad", "good"], reducer).save_pretrained(tmp_path / "model")
    texts = ["adam lives in bern", "where lives adam"]
    exact = tokendrop.load(tmp_path / "model").predict(texts)
    found = tokendrop.load(tmp_path / "model", device="cuda", dtype="bf16").predict(texts)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=0.03)
