import json

import pandas as pd
import pytest
import torch
from transformers import BertTokenizer

from tokendrop.data.questions import read_questions, read_squad
from tokendrop.data.tokens import Tokeniser
from tokendrop.errors import UserError

COLUMNS = ["question", "context"]


def context(number):
    """A paragraph of 40 words in which the word before the number stands once."""
    words = ["the", "film", "was", "very", "long"] * 8
    words[number % 36 + 2] = f"plot {number}"
    return " ".join(words)


def question(number, paragraph, impossible=None):
    text = context(paragraph)
    answer = f"plot {paragraph}"
    asked = {
        "id": f"id{number}",
        "question": f"is the cast {number} good",
        "answers": [{"text": answer, "answer_start": text.index(answer)}],
    }
    if impossible is not None:
        asked |= {"is_impossible": impossible}
        if impossible:
            asked |= {"answers": [], "plausible_answers": asked["answers"]}
    return asked


def squad(path, paragraphs=20, impossible=None):
    """A file in the form of SQuAD, three questions to a paragraph."""
    content = [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": context(p),
                    "qas": [question(3 * p + i, p, impossible and i == 2) for i in range(3)],
                }
            ],
        }
        for p in range(paragraphs)
    ]
    path.write_text(json.dumps({"version": "1", "data": content}))
    return str(path)


@pytest.fixture
def asked(make, tmp_path):
    def build(name="train.json", impossible=None, **options):
        path = squad(tmp_path / name, impossible=impossible)
        given = {"max_length": 32, "doc_stride": 8, "task": "question_answering", **options}
        return make(train=path, **given)

    return build


def windows(data):
    return [window for split in data.splits.values() for window in split.windows]


def test_squad_rows_are_those_of_the_hub(tmp_path):
    rows = read_questions(
        read_squad(squad(tmp_path / "a.json"), COLUMNS, "answers"), COLUMNS, "answers"
    )
    assert len(rows) == 60
    lines = [
        {
            "id": q.id,
            "question": q.text,
            "context": q.context,
            "answers": {"text": q.answers, "answer_start": q.starts},
        }
        for q in rows.labels
    ]
    pd.DataFrame(lines).to_parquet(tmp_path / "a.parquet")
    hub = read_squad(str(tmp_path / "a.parquet"), COLUMNS, "answers")
    assert read_questions(hub, COLUMNS, "answers").labels == rows.labels
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    lines_ = read_squad(str(tmp_path / "a.jsonl"), COLUMNS, "answers")
    assert read_questions(lines_, COLUMNS, "answers").labels == rows.labels


def test_articles_without_what_stands_around_them(tmp_path):
    whole = read_squad(squad(tmp_path / "a.json"), COLUMNS, "answers")
    (tmp_path / "b.json").write_text(
        json.dumps(json.loads((tmp_path / "a.json").read_text())["data"])
    )
    bare = read_squad(str(tmp_path / "b.json"), COLUMNS, "answers")
    assert bare.called == whole.called
    assert all(list(bare[name]) == list(whole[name]) for name in whole.called)


def test_unanswerable_questions(asked):
    data = asked(impossible=True)
    unanswered = {w.question.id for w in windows(data) if not w.question.answers}
    assert unanswered == {f"id{i}" for i in range(2, 60, 3)}
    assert data.make_task("f1").unanswerable
    assert not asked("other.json").make_task("f1").unanswerable
    for split in data.splits.values():
        for window, label in zip(split.windows, split.labels, strict=True):
            assert window.question.answers or label == (0, 0)


def test_no_paragraph_lies_in_two_splits(asked):
    data = asked()
    contexts = [{w.question.context for w in split.windows} for split in data.splits.values()]
    assert sum(len(found) for found in contexts) == 20
    assert len(set.union(*contexts)) == 20
    numbers = {name: [w.number for w in split.windows] for name, split in data.splits.items()}
    assert {name: len(set(found)) for name, found in numbers.items()} == {
        "train": 48,
        "dev": 6,
        "test": 6,
    }


def test_training_loses_the_paragraphs_of_a_given_test_file(asked, tmp_path, caplog):
    test = squad(tmp_path / "test.json", paragraphs=4)
    data = asked(test=test)
    kept = {w.question.context for n in ("train", "dev") for w in data.splits[n].windows}
    assert kept == {context(p) for p in range(4, 20)}
    assert "12 of 60 training questions are about paragraphs that also occur" in caplog.text


def test_windows_cover_the_context_and_find_the_answer(asked):
    data = asked()
    found = set()
    for split in data.splits.values():
        for window, (first, last), ids, types in zip(
            split.windows, split.labels, split.input_ids, split.token_type_ids, strict=True
        ):
            question = window.question
            assert len(ids) <= 32
            assert len(window.offsets) == len(ids)
            assert [end > 0 for _, end in window.offsets[:-1]] == [t == 1 for t in types[:-1]]
            text = question.context[window.offsets[first, 0] : window.offsets[last, 1]]
            if first:
                assert text == question.answers[0]
                found.add(question.id)
            else:
                covered = window.offsets[window.offsets[:, 1] > 0]
                begin, end = question.starts[0], question.starts[0] + len(question.answers[0])
                assert begin < covered[0, 0] or end > covered[-1, 1]
        assert split.truncated == 0
    assert len(found) == 60
    everything = {}
    for window in windows(data):
        places = {i for start, end in window.offsets.tolist() for i in range(start, end)}
        everything.setdefault(window.question.id, (window.question.context, set()))[1].update(
            places
        )
    for text, places in everything.values():
        assert {i for i, character in enumerate(text) if character != " "} <= places


def test_neighbouring_windows_share_the_stride(tokenizer, tmp_path):
    found = Tokeniser(tokenizer, 20, tmp_path).windows([("is it", context(0))], 5, "train")
    assert set(found.examples) == {0}
    shared = [
        {tuple(span) for span in one.tolist()} & {tuple(span) for span in other.tolist()} - {(0, 0)}
        for one, other in zip(found.offsets, found.offsets[1:], strict=False)
    ]
    assert [len(spans - {(0, 0)}) for spans in shared] == [5] * len(shared)


def test_second_process_does_not_tokenise_windows_again(tokenizer, tmp_path):
    pairs = [("is it", context(0)), ("is it not", context(1))]
    first = Tokeniser(tokenizer, 20, tmp_path).windows(pairs, 5, "train")
    (file,) = tmp_path.glob("*.arrow")
    begun = file.stat().st_mtime_ns
    again = Tokeniser(tokenizer, 20, tmp_path).windows(pairs, 5, "train")
    assert again.tokens == first.tokens
    assert again.examples == first.examples
    assert all((a == b).all() for a, b in zip(again.offsets, first.offsets, strict=True))
    assert file.stat().st_mtime_ns == begun
    assert Tokeniser(tokenizer, 20, tmp_path).windows(pairs, 6, "train").tokens != first.tokens
    # the same texts as pairs of one row each are another thing
    assert len(Tokeniser(tokenizer, 20, tmp_path)(pairs, "train").input_ids) == 2
    assert len(list(tmp_path.glob("*.arrow"))) == 3


def test_right_logits_answer_every_question(asked):
    data = asked(impossible=True)
    scores = data.make_task("f1").scores(data.splits["test"])
    for batch in data.test_dataloader():
        assert batch.labels.shape == (len(batch), 2)
        logits = torch.zeros(len(batch.input_ids), 2)
        for side in (0, 1):
            logits[batch.layout.first + batch.labels[:, side], side] = 1.0
        scores.update(logits, batch)
    assert {name: float(value) for name, value in scores.compute().items()} == {
        "exact_match": 1,
        "f1": 1,
    }
    assert len(scores.examples()) == 6


def test_limits_count_questions(asked):
    data = asked(train_rows=5, dev_rows=2, test_rows=1)
    counts = [len({w.question.id for w in split.windows}) for split in data.splits.values()]
    assert counts == [5, 2, 1]


def test_fingerprint_covers_stride_and_answers(asked, make, tmp_path):
    prints = {
        asked().fingerprint(),
        asked(doc_stride=9).fingerprint(),
        asked(impossible=True).fingerprint(),
    }
    assert len(prints) == 3


def test_overlong_question_is_cut_and_counted(tokenizer, tmp_path):
    pairs = [("is " * 100, "a film"), ("is it", "a film")]
    found = Tokeniser(tokenizer, 100, tmp_path).windows(pairs, 4, "train")
    assert [len(row) for row in found.tokens.input_ids] == [64 + 2 + 3, 2 + 2 + 3]
    assert found.tokens.truncated == 1


@pytest.mark.parametrize("side", ["left", "right"])
def test_question_that_leaves_no_room_is_cut_to_half_a_window(tokenizer, side):
    cutting = BertTokenizer(vocab=tokenizer.get_vocab(), truncation_side=side)
    pairs = [("is " * 30 + "it", "a film"), ("is it", "a film")]
    found = Tokeniser(cutting, 23).windows(pairs, 4, "train")
    assert [len(row) for row in found.tokens.input_ids] == [10 + 2 + 3, 2 + 2 + 3]
    assert found.tokens.truncated == 1


def test_answered_question_whose_context_has_no_token(asked, make, tmp_path):
    path = squad(tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text())
    paragraph = content["data"][3]["paragraphs"][0]
    paragraph["context"] = "\u200b\u200d"
    for one in paragraph["qas"]:
        one["answers"] = [{"text": "\u200b", "answer_start": 0}]
    (tmp_path / "a.json").write_text(json.dumps(content))
    data = make(train=path, task="question_answering", max_length=32, doc_stride=8)
    with pytest.raises(UserError, match=r"a.json, question id\d+: the tokenizer makes no token"):
        data.setup()


def test_stride_without_room(asked):
    with pytest.raises(UserError, match=r"doc_stride 30 must be below the \d+ tokens.*max_length"):
        asked(doc_stride=30).setup()
