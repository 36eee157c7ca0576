"""What became of the tokens: kinds of tokens, when they were dropped, when rows left."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tests.models.test_model import REDUCERS, TEXTS, model_of, tokenizer
from tokendrop.compare.grid.fate_counts import FateCounts, sample
from tokendrop.compare.results.fates import read_fates, write_fates
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.measure.token_kinds import KINDS, Vocabulary

HELLO = "the plot thin but (the lots)!"


def pieces(mark: str) -> PreTrainedTokenizerBase:
    """A byte-pair (Ġ) or a sentence-piece (▁) tokenizer that cuts every word into letters."""
    byte_level = mark == "Ġ"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet()) if byte_level else sorted(set(HELLO))
    words = ["<s>", "</s>", "<unk>", *dict.fromkeys([*alphabet, mark, "the", f"{mark}the"])]
    merges = [("t", "h"), ("th", "e"), (mark, "the")]
    vocabulary = {word: index for index, word in enumerate([*words, "th"])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    if byte_level:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
    else:
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
        )
        made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", None, [("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def kinds_of(maker: PreTrainedTokenizerBase, *texts: str) -> list[list[str]]:
    rows = [maker(text).input_ids for text in texts]
    found = Vocabulary(maker).kinds(Batch.pack(rows))
    return [[KINDS[kind] for kind in row] for row in found.split([len(row) for row in rows])]


def test_word_pieces() -> None:
    special, function, content = "special", "function word", "content word"
    assert kinds_of(tokenizer(), "the plot is thin !", "a lots") == [
        [special, function, content, function, content, "punctuation", special],
        # "a" is one of English's function words, "lots" is "lot" and "##s"
        [special, function, content, "sub-word piece", special],
    ]


@pytest.mark.parametrize("mark", ["Ġ", "▁"])
def test_tokenizers_that_mark_what_begins_a_word(mark: str) -> None:
    (kinds,) = kinds_of(pieces(mark), "the (lot) the")
    counted = Counter(kinds)
    assert counted["special"] == 2
    assert counted["function word"] == 2
    assert counted["content word"] == 1  # the l of lot, though a bracket stands before it
    assert counted["sub-word piece"] == 2
    assert kinds[1] == "function word"  # nothing marks the first word of a byte-pair row


def test_a_function_word_that_goes_on_is_a_content_word() -> None:
    (kinds,) = kinds_of(pieces("Ġ"), "a thenot")
    assert Counter(kinds)["function word"] == 1


@pytest.mark.parametrize("maker", [tokenizer, lambda: pieces("Ġ"), lambda: pieces("▁")])
def test_tokens_are_shown_as_text(maker: object) -> None:
    assert callable(maker)
    made = maker()
    vocabulary = Vocabulary(made)
    shown = [vocabulary.text(token) for token in made("but the plots").tokens()]
    assert "".join(shown[1:-1]).split()[-2:] in (["the", "plots"], ["the", "[UNK]"])
    assert not any("#" in text or "Ġ" in text or "▁" in text for text in shown)


@pytest.mark.parametrize("name", REDUCERS)
def test_counts_are_those_of_the_predictions(name: str) -> None:
    model = model_of(REDUCERS[name]())
    rows = [model.tokenizer(text).input_ids for text in TEXTS]
    batch = Batch.pack(rows)
    counts = FateCounts(model.shape.layers, Vocabulary(model.tokenizer))
    with torch.inference_mode():
        for _ in range(2):
            counts.update(model(batch).trace, batch)
    fates = counts.fates([], [])
    predicted = model.predict(TEXTS)
    expected = Counter(prediction.row_depth for prediction in predicted)
    assert fates.exits == [2 * expected[depth] for depth in range(model.shape.layers + 1)]
    dropped = Counter(
        depth if depth < prediction.row_depth else model.shape.layers
        for prediction in predicted
        for depth in prediction.token_depth
    )
    totals = [sum(column) for column in zip(*fates.dropped.values(), strict=True)]
    assert totals == [2 * dropped[depth] for depth in range(model.shape.layers + 1)]
    assert "special" in fates.dropped
    # [CLS] stays in every row
    assert fates.dropped["special"][-1] >= 2 * len(TEXTS)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    model = model_of(REDUCERS["power_bert"]())
    vocabulary = Vocabulary(model.tokenizer)
    samples = [sample(one, "good", vocabulary) for one in model.predict([*TEXTS, "plot " * 500])]
    counts = FateCounts(3, vocabulary)
    batch = Batch.pack([model.tokenizer(text).input_ids for text in [*TEXTS, "plot"]])
    with torch.inference_mode():
        counts.update(model(batch).trace, batch)
    fates = counts.fates(samples, [7, 3])
    write_fates(tmp_path / "f" / "one.json", fates)
    assert read_fates(tmp_path / "f" / "one.json") == fates
    assert len(samples[0].words) == len(samples[0].depth) == samples[0].tokens


def test_a_torn_file_is_named_with_its_cure(tmp_path: Path) -> None:
    for text in ('{"layers": 2', "[]", '{"layers": 2, "samples": [{"label": 1}]}', "{}"):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(UserError, match=r"x\.json is not a whole file"):
            read_fates(tmp_path / "x.json")
    with pytest.raises(UserError, match=r"y\.json is missing"):
        read_fates(tmp_path / "y.json")


SAMPLE = {
    "label": "",
    "answer": "",
    "words": [" a", " film"],
    "depth": [2, 1],
    "left": 2,
    "tokens": 2,
}


@pytest.mark.parametrize(
    "odd",
    [
        {"exits": [4, 6]},
        {"dropped": {"content word": [0, 0, 0]}},
        {"dropped": {"content word": [9, -1, 2]}},
        {"samples": [SAMPLE | {"depth": [2]}]},
    ],
    ids=["a layer too few", "no token of a kind", "fewer than none", "a word without a depth"],
)
def test_counts_that_do_not_fit_together_are_named(tmp_path: Path, odd: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"layers": 2, "exits": [0, 4, 6], "dropped": {}, "samples": []}
    file = tmp_path / "fates.json"
    file.write_text(json.dumps(whole | {"samples": [SAMPLE]}))
    assert read_fates(file).samples
    file.write_text(json.dumps(whole | odd))
    with pytest.raises(UserError, match=r"fates\.json is not a whole file"):
        read_fates(file)
