import json
import logging

import datasets
import numpy as np
import pytest
from tokenizers.pre_tokenizers import ByteLevel
from transformers import RobertaTokenizer

from tokendrop.data.classes import class_names
from tokendrop.data.sources import Table, read_hub
from tokendrop.data.tags import read_conll, read_sentences
from tokendrop.data.tokens import Tokeniser
from tokendrop.errors import UserError
from tokendrop.tasks import IGNORED

CONLL = """-DOCSTART- -X- -X- O

The DT I-NP O
film NN I-NP I-MISC
17 CD I-NP I-MISC

Ada NNP I-NP I-PER
Bea NNP I-NP B-PER
was VBD I-VP O
-DOCSTART- -X- -X- O

\t
good JJ I-ADJP O"""

TAGS = [["O", "B-MISC", "I-MISC"], ["B-PER", "B-PER", "O"], ["O"]]


def sentences(count, start=0):
    """Sentences of 2 to 5 words, of which one is a name."""
    names = [("the", "B-MISC"), ("film", "I-MISC")]
    words = [("is", "O"), ("very", "O"), ("good", "O")]
    return [[*names, (str(i), "O"), *words[: i % 4]] for i in range(start, start + count)]


def write_conll(path, lines):
    blocks = ["\n".join(f"{word} X {tag}" for word, tag in line) for line in lines]
    path.write_text("\n\n".join(blocks) + "\n")
    return str(path)


def table(words, tags):
    return Table([("tokens", words), ("tags", tags)], "rows.json")


@pytest.mark.parametrize("name", ["eng.train", "train", "train.txt", "train.tsv", "train.conll"])
def test_conll_by_any_name(tmp_path, name):
    (tmp_path / name).write_text(CONLL)
    rows = read_sentences(read_conll(str(tmp_path / name), "w", "t"), ["w"], "t")
    assert [sentence.words for sentence in rows.labels] == [
        ["The", "film", "17"],
        ["Ada", "Bea", "was"],
        ["good"],
    ]
    assert [sentence.tags for sentence in rows.labels] == TAGS
    assert rows.texts[0] == ("The film 17",)


def test_conll_with_windows_line_ends(tmp_path):
    (tmp_path / "a").write_bytes(CONLL.replace("\n", "\r\n").encode("utf-8-sig"))
    rows = read_sentences(read_conll(str(tmp_path / "a"), "w", "t"), ["w"], "t")
    assert [sentence.tags for sentence in rows.labels] == TAGS


@pytest.mark.parametrize("between", ["\t", " ", "  ", "\t_\t", " _ "])
def test_a_word_ends_where_the_column_does(tmp_path, make, between):
    words = ["film", "10\u00a0000", "so\u2028so", "\u3000", "New York" if "\t" in between else "a"]
    lines = [f"{word}{between}{tag}" for word, tag in zip(words, "ABABA", strict=True)]
    (tmp_path / "a").write_text("\n".join(lines) + "\n\nfilm\tO\n" * 2)
    rows = read_sentences(read_conll(str(tmp_path / "a"), "w", "t"), ["w"], "t")
    assert rows.labels[0].words == words
    assert rows.labels[0].tags == [*"ABABA"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a O\nfilm\n", "line 2: 'film' has no tag"),
        ("a,O\nfilm,O\n", "line 1: 'a,O' has no tag; .*, with blanks between them"),
        ("a\tO\nNew film\nb\tO\n", "line 2: 'New film' has no tag.*a tab between"),
        ("a\tO\n\tO\nb\tO\n", "line 2: the tag 'O' has no word"),
        ("# id\n1\tAda\t_\tB\n2-3\tisn't\t_\t_\n2\tis\t_\tO\n\n1\tno\t_\tO\n", "line 2: num.*2,4 "),
        ("0 Ada B\n1 is O\n", "line 1: numbered columns.*cut -f 2,3 "),
        ("1" + "\t_" * 9 + "\n2" + "\t_" * 9 + "\n", "line 1: CoNLL-U.*cut -f 2,4 > a.conll"),
        ("# id 7\tdomain=en\nAda _ _ B\nis _ _ O\n", "line 1: '# id 7 domain=en' looks like a c"),
        ("Token\tNER\nAda\tB\n", r"line 1: 'Token NER' looks like a header.*tail -n \+2 a > a.c"),
        ("\nwords pos_tags\n\nis O\n", r"line 2: 'words pos_tags' looks.*tail -n \+3 a > a.conll"),
        ("a\tO\n\n# text = a\n# 2\nb\tO\n", "line 3: '# text = a' looks.*grep -vE '.*' a > a.c"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path, content, says):
    (tmp_path / "a").write_text(content)
    with pytest.raises(UserError, match=f"a, {says}"):
        read_conll(str(tmp_path / "a"), "w", "t")


def test_sentences_that_begin_with_a_number_are_not_numbered(tmp_path):
    (tmp_path / "a").write_text("1 CD O\n2 CD O\n\n17 CD O\nfilms NN O\n")
    assert len(read_conll(str(tmp_path / "a"), "w", "t")) == 2


@pytest.mark.parametrize("content", ["# O\n1 O\n", "# #\n1 CD\n", "a X\n# Y\n", "#fun X\na Y\n"])
def test_the_word_of_a_hash_is_no_comment(tmp_path, content):
    (tmp_path / "a").write_text(content)
    (words,) = read_conll(str(tmp_path / "a"), "w", "t")["w"]
    assert len(words) == 2


@pytest.mark.parametrize("content", ["word O\nb tag\n", "Labels NN\nb O\n", "'s POS\na NN\n"])
def test_a_first_word_is_no_header(tmp_path, content):
    (tmp_path / "a").write_text(content)
    (words,) = read_conll(str(tmp_path / "a"), "w", "t")["w"]
    assert len(words) == 2


def test_file_of_no_sentences(tmp_path):
    (tmp_path / "a").write_text("\n\n-DOCSTART- O\n\n")
    with pytest.raises(UserError, match="a: no sentences"):
        read_sentences(read_conll(str(tmp_path / "a"), "w", "t"), ["w"], "t")


@pytest.mark.parametrize(
    ("words", "tags", "says"),
    [
        ([["a"], []], [["O"], []], r"row 2: a sentence without words"),
        ([["a", "b"]], [["O"]], r"row 1: 2 words in column 'tokens' but 1 tags in column 'tags'"),
        (["a film"], [["O", "O"]], r"row 1: column 'tokens' holds a str, not a list"),
        ([["a"]], [None], r"row 1: column 'tags' holds nothing, not a list"),
        ([["a", "b"]], [["O", None]], r"row 1: a word without a tag in column 'tags'"),
        ([["a", "b"]], [[-100, 1]], r"row 1: the tag -100, by which other tools leave tokens out"),
        ([["a"], ["b", None]], [["O"], ["O", "O"]], r"row 2: None in the place of a word"),
        ([["a", ["b"]]], [["O", "O"]], r"row 1: \['b'\] in the place of a word"),
        ([["a", "b"]], [["O", ["B", "I"]]], r"row 1: \['B', 'I'\] in the place of a tag"),
        ([["a"], ["b"]], [["O"], [np.array([1])]], r"row 2: array\(\[1\]\) in the place of a tag"),
        ([["a\ud83d"]], [["O"]], r"row 1: half a character, \\ud83d, at place 2 of a word"),
        ([["a"]], [["B-big city"]], r"row 1: white space in the tag 'B-big city'"),
    ],
)
def test_sentences_that_cannot_be_used(words, tags, says):
    with pytest.raises(UserError, match=f"rows.json, {says}"):
        read_sentences(table(words, tags), ["tokens"], "tags")


def test_missing_column():
    with pytest.raises(UserError, match=r"unknown column 'tag': did you mean 'tags'.*--data.label"):
        read_sentences(table([["a"]], [["O"]]), ["tokens"], "tag")


def test_hub_names_its_tags(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    tags = datasets.ClassLabel(names=["O", "I-PER", "I-LOC"])
    features = datasets.Features(
        tokens=datasets.List(datasets.Value("string")), ner_tags=datasets.List(tags)
    )
    (tmp_path / "set").mkdir()
    for split in ("train", "validation", "test"):
        rows = {"tokens": [["Ada", "Bea", "in", "Rome"]], "ner_tags": [[1, 1, 0, 2]]}
        data = datasets.Dataset.from_dict(rows, features=features)
        data.to_parquet(str(tmp_path / "set" / f"{split}.parquet"))
    tables = read_hub(str(tmp_path / "set"), "ner_tags")
    assert set(tables) == {"train", "dev", "test"}
    rows = read_sentences(tables["test"], ["tokens"], "ner_tags")
    assert rows.labels[0].tags == ["B-PER", "I-PER", "O", "B-LOC"]


def test_tag_never_trained_on():
    train = read_sentences(table([["a", "b"]], [["O", "B-PER"]]), ["tokens"], "tags")
    dev = read_sentences(table([["a"], ["b"]], [["O"], ["B-LOC"]]), ["tokens"], "tags")
    splits = {"train": train, "dev": dev, "test": train}
    with pytest.raises(UserError, match=r"row 2: label 'B-LOC' does not occur in the training"):
        class_names(splits, None)
    assert class_names({**splits, "dev": train}, None) == ["B-PER", "O"]


@pytest.fixture
def tagged(make, tmp_path):
    def build(name="eng.train", lines=None, **options):
        path = write_conll(tmp_path / name, lines or sentences(60))
        return make(train=path, task="token_classification", **options)

    return build


def test_first_piece_of_a_word_carries_its_tag(tagged, tokenizer):
    data = tagged()
    assert data.labels == ["B-MISC", "I-MISC", "O"]
    split = data.splits["train"]
    for ids, labels, sentence in zip(split.input_ids, split.labels, split.sentences, strict=True):
        expected = tokenizer(sentence.words, is_split_into_words=True)
        assert ids == expected["input_ids"]
        words = expected.encodings[0].word_ids
        first = [w is not None and w not in words[:i] for i, w in enumerate(words)]
        assert [label != IGNORED for label in labels] == first
        scored = [data.labels[label] for label in labels if label != IGNORED]
        assert scored == sentence.tags
        assert [words[place] for place in sentence.places] == list(range(len(sentence.words)))
    assert sum(split.lengths) > sum(len(s.words) + 2 for s in split.sentences)


def test_packed_labels_lie_beside_the_tokens(tagged):
    data = tagged(batch_size=7)
    split = data.splits["train"]
    for batch in data.train_dataloader():
        assert batch.labels.shape == batch.input_ids.shape
        rows = batch.labels.split(list(batch.layout.lengths))
        for example, labels in zip(batch.examples.tolist(), rows, strict=True):
            assert labels.tolist() == split.labels[example]


def test_long_sentences_are_cut_and_counted(tagged, caplog):
    data = tagged(lines=[*sentences(40), [("good", "B-MISC")] * 12], max_length=9)
    data.setup()
    (long,) = [
        (row, sentence)
        for split in data.splits.values()
        for row, sentence in zip(split.labels, split.sentences, strict=True)
        if len(sentence.words) == 12
    ]
    assert sum(label != IGNORED for label in long[0]) == 7
    assert long[1].places == [1, 2, 3, 4, 5, 6, 7, None, None, None, None, None]
    assert sum(split.truncated for split in data.splits.values()) == 1
    assert [r for r in caplog.records if r.levelno == logging.WARNING]


def test_word_that_the_tokenizer_dissolves_has_no_place(tagged):
    lines = [*sentences(40), [("good", "O"), ("\u200b", "B-MISC"), ("bad", "O")]]
    for split in tagged(lines=lines).splits.values():
        for sentence in split.sentences:
            if "\u200b" in sentence.words:
                assert sentence.places == [1, None, 2]
                return
    raise AssertionError("the sentence is lost")


def test_byte_level_tokenizers_see_the_space_before_a_word(tmp_path):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = [*special, *sorted(ByteLevel.alphabet()), "ab", "\u0120a"]
    tokenizer = RobertaTokenizer(
        vocab={t: i for i, t in enumerate(pieces)}, merges=[("a", "b"), ("\u0120", "a")]
    )
    tokens, words = Tokeniser(tokenizer, 16, tmp_path).words([["ab", "a", "xy"]], "train")
    assert tokens.input_ids == [tokenizer("ab a xy")["input_ids"]]
    # the last word begins with a token of its space alone
    assert words[0][:3] == [-1, 0, 1]
    assert words[0][-3:] == [2, 2, -1]


def test_json_lines_and_conll_are_the_same_data(tagged, make, tmp_path):
    pairs = [list(zip(*line, strict=True)) for line in sentences(60)]
    lines = [{"tokens": words, "tags": tags} for words, tags in pairs]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    data = make(train=str(tmp_path / "a.jsonl"), task="token_classification")
    assert data.fingerprint() == tagged().fingerprint()


def test_tags_are_part_of_the_fingerprint(tagged):
    others = sentences(60)
    others[7] = [(word, "O") for word, _ in others[7]]
    assert tagged().fingerprint() != tagged("other", others).fingerprint()


def test_limits_and_entities(tagged):
    data = tagged(train_rows=10, dev_rows=2, test_rows=3)
    assert [len(split) for split in data.splits.values()] == [10, 2, 3]
    assert data.make_task("entity_f1").outputs == 3
