import json
import logging
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from transformers import BertTokenizer

from tests.data.conftest import rows, write_csv
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.tasks import IGNORED

LOADERS = [
    ("train_dataloader", "train"),
    ("val_dataloader", "dev"),
    ("test_dataloader", "test"),
    ("predict_dataloader", "test"),
]


def examples(loader):
    return [batch.examples.tolist() for batch in loader]


def test_splits_of_one_file(make, train):
    data = make(train=train)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 96,
        "dev": 12,
        "test": 12,
    }
    assert data.labels == ["neg", "pos"]
    texts = [set(split.texts) for split in data.splits.values()]
    assert len(set.union(*texts)) == 120
    assert data.longest == 128


def test_setup_happens_once(make, train):
    data = make(train=train)
    data.setup("fit")
    splits = data.splits
    data.setup("test")
    assert data.splits is splits


@pytest.mark.parametrize(("loader", "name"), LOADERS)
def test_batches_hold_the_rows_they_name(make, train, tokenizer, loader, name):
    data = make(train=train, batch_size=5)
    split = data.splits[name]
    seen = []
    for batch in getattr(data, loader)():
        assert list(batch.layout.lengths) == sorted(batch.layout.lengths)
        ids = batch.input_ids.split(list(batch.layout.lengths))
        for example, row, label in zip(batch.examples.tolist(), ids, batch.labels, strict=True):
            assert row.tolist() == tokenizer(split.texts[example][0])["input_ids"]
            assert label == split.labels[example]
            seen.append(example)
    assert sorted(seen) == list(range(len(split)))


def test_evaluation_keeps_the_order_of_the_file(make, train):
    data = make(train=train, batch_size=5)
    assert [sorted(batch) for batch in examples(data.test_dataloader())] == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [10, 11],
    ]


def test_training_order_follows_the_epoch_of_the_trainer(make, train):
    data, again = make(train=train, batch_size=5), make(train=train, batch_size=5)
    first = examples(data.train_dataloader())
    assert examples(again.train_dataloader()) == first
    again.trainer = SimpleNamespace(current_epoch=1, global_rank=0, world_size=1)
    assert examples(again.train_dataloader()) != first
    assert sorted(chain.from_iterable(examples(again.train_dataloader()))) == list(range(96))
    assert examples(make(train=train, batch_size=5, seed=1).train_dataloader()) != first


def test_token_budget_is_for_training_only(make, train):
    data = make(train=train, max_length=20, token_budget=40)
    sizes = [sum(batch.layout.lengths) for batch in data.train_dataloader()]
    assert max(sizes) <= 40
    assert [len(batch) for batch in data.test_dataloader()] == [12]


def test_small_run_keeps_splits_and_classes(make, train):
    whole = make(train=train)
    small = make(train=train, train_rows=1, dev_rows=3, test_rows=5)
    assert [len(split) for split in small.splits.values()] == [1, 3, 5]
    assert small.labels == ["neg", "pos"]
    for name, split in small.splits.items():
        assert set(split.texts) <= set(whole.splits[name].texts)


def test_pairs(make, tmp_path):
    lines = [{"q": r["text"], "a": f"film {i}", "label": i % 2} for i, r in enumerate(rows(40))]
    data = make(train=write_csv(tmp_path / "pairs.csv", lines), text=["q", "a"])
    split = data.splits["train"]
    assert all(len(texts) == 2 for texts in split.texts)
    assert all({*types} == {0, 1} for types in split.token_type_ids)
    assert data.labels == ["0", "1"]


def test_given_files(make, tmp_path, train):
    dev = write_csv(tmp_path / "dev.csv", rows(10, start=115))
    test = write_csv(tmp_path / "test.csv", rows(7, start=200))
    data = make(train=train, dev=dev, test=test)
    assert [len(split) for split in data.splits.values()] == [115, 10, 7]


def test_files_may_be_paths(make, tmp_path, train):
    folder, name = Path(train).parent, Path(train).name
    named = make(train=train, cache=str(tmp_path / "one"))
    for options in ({"train": Path(train)}, {"train": Path(name), "dir": folder}):
        data = make(**options, cache=tmp_path / "other")
        assert data.settings.cache == str(tmp_path / "other")
        assert data.fingerprint() == named.fingerprint()


def test_truncation_is_said_once(make, train, caplog):
    data = make(train=train, max_length=8)
    data.setup()
    data.setup()
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    counts = {name: split.truncated for name, split in data.splits.items()}
    assert f"max_length 8 were truncated: {counts['train']} of 96 train" in record.getMessage()
    assert max(data.splits["train"].lengths) == 8
    assert counts["train"] > 0


def test_cache_folder_by_environment(train, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKENDROP_CACHE", str(tmp_path / "elsewhere"))
    data = TextData(train=train)
    data.use_tokenizer(tokenizer)
    data.setup()
    assert len(list((tmp_path / "elsewhere" / "tokens").glob("*.arrow"))) == 3


def test_fingerprint_is_of_the_content(make, train, tmp_path):
    print_ = make(train=train).fingerprint()
    copy = write_csv(tmp_path / "copy.csv", rows(120))
    assert make(train=copy, seed=5, cache=str(tmp_path / "other")).fingerprint() == print_
    others = [
        {"max_length": 64},
        {"batch_size": 16},
        {"token_budget": 128},
        {"train_rows": 50},
        {"test_rows": 5},
        {"split_seed": 1},
    ]
    changed = {make(train=train, **other).fingerprint() for other in others}
    assert len(changed | {print_}) == 1 + len(others)


def test_fingerprint_knows_whether_the_second_text_is_marked(make, tmp_path, tokenizer):
    train = write_csv(tmp_path / "pairs.csv", [row | {"more": "film"} for row in rows(40)])
    untyped = BertTokenizer(vocab=tokenizer.get_vocab(), model_input_names=["input_ids"])

    def both(text):
        marked, unmarked = make(train=train, text=text), make(train=train, text=text)
        unmarked.use_tokenizer(untyped)
        return marked.fingerprint(), unmarked.fingerprint()

    one, other = both(["text", "more"])
    assert one != other
    one, other = both("text")
    assert one == other


def test_in_the_order_of_a_model(make, train):
    plain, data = make(train=train), make(train=train, class_weights=[1.0, 5.0])
    before = data.fingerprint()
    data.follow(["neg", "pos"], "classification", "a model")
    assert data.fingerprint() == before
    data.follow(["pos", "neg"], "classification", "a model")
    assert data.labels == ["pos", "neg"]
    for name, split in data.splits.items():
        assert split.labels == [1 - label for label in plain.splits[name].labels]
    assert data.fingerprint() != before
    # the data's own order says which class a weight is for, and which is the second
    task = data.make_task("f1")
    assert task.class_weights == [5.0, 1.0]
    split = data.splits["test"]
    scores = task.scores(split)
    for batch in data.test_dataloader():
        scores.update(torch.tensor([[1.0, 0.0]] * len(batch)), batch)  # "pos" each time
    right = split.labels.count(0)
    assert float(scores.compute()["f1"]) == pytest.approx(2 * right / (right + len(split)))
    assert list(scores.examples().columns) == ["label", "neg", "pos", "score"]


def test_tags_in_the_order_of_a_model(make, tmp_path):
    lines = [{"tokens": ["the", "film", str(i)], "tags": ["b", "a", "c"]} for i in range(40)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    data = make(train=str(tmp_path / "a.jsonl"), task="token_classification")
    data.follow(["c", "a", "b"], "token_classification", "a model")
    first = data.splits["dev"].labels[0]
    assert [label for label in first if label != IGNORED] == [2, 1, 0]
    assert {first[0], first[-1]} == {IGNORED}


def test_a_model_that_cannot_be_followed(make, train):
    data = make(train=train)
    with pytest.raises(UserError, match="the model m is for token classification but the data for"):
        data.follow(["pos", "neg"], "token_classification", "m")
    with pytest.raises(UserError, match=r"m has a head for 1 class \(neg\).* 2 \(neg, pos\)"):
        data.follow(["neg"], "classification", "m")
    assert data.labels == ["neg", "pos"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "no data to train on.*--data.dataset.*--data.train"),
        ({"test": "t.csv"}, "no data to train on"),
        ({"train": pd.DataFrame({"text": ["a"]})}, "train is a table in memory: write it to a fi"),
        ({"dataset": pd.DataFrame({"text": ["a"]})}, "dataset is a table in memory"),
        ({"dataset": "imdb", "dev": "d.csv"}, "'imdb' and the file d.csv are both given"),
        ({"text": []}, "one or two columns, not 0"),
        ({"text": ["a", "b", "c"]}, "one or two columns, not 3"),
        ({"text": ["a", "a"]}, "text names the column 'a' twice"),
        ({"text": "a", "label": "a"}, "text and label both name the column 'a'"),
        ({"text": ["a", "label"]}, "text and label both name the column 'label'"),
        ({"batch_size": 0}, "batch_size 0 is too small: use a whole number, 1 or more"),
        ({"max_length": -1}, "max_length -1 is too small"),
        ({"token_budget": 100}, "token_budget 100 is too small: use max_length, 128, or more"),
        ({"dev_rows": 0}, "dev_rows 0 is too small"),
        ({"seed": -1}, "seed -1 is too small"),
        ({"dev_fraction": 0.6, "test_fraction": 0.4}, "dev_fraction 0.6 and test_fraction 0.4"),
        ({"test_fraction": 0.0}, "test_fraction 0.0 must be above 0"),
        ({"batch_sise": 8}, "unknown setting of TextData 'batch_sise': did you mean 'batch_size'"),
    ],
)
def test_bad_options(options, says):
    given = (
        {"train": "t.csv", **options} if options.keys() - {"test", "dataset", "dev"} else options
    )
    with pytest.raises(UserError, match=says):
        TextData(**given)
