"""The classes of the data get the names that a model has for them."""

import json

import pytest

from tests.data.conftest import rows, write_csv
from tests.data.test_tags import sentences
from tokendrop.errors import UserError


def test_classes_keep_their_rows_and_their_order(make, train):
    plain = make(train=train, train_rows=20, class_weights=[1.0, 5.0])
    named = make(
        train=train,
        train_rows=20,
        class_weights=[1.0, 5.0],
        label_map={"neg": "UNHAPPY", "pos": "HAPPY"},
    )
    # the first class is that of the data, whatever the alphabet says of its new name
    assert named.labels == ["UNHAPPY", "HAPPY"]
    assert named.make_task("f1").class_weights == [1.0, 5.0]
    for name, split in plain.splits.items():
        assert named.splits[name].texts == split.texts
        assert named.splits[name].labels == split.labels
    named.follow(["HAPPY", "UNHAPPY"], "classification", "a model")
    assert named.splits["test"].labels == [1 - label for label in plain.splits["test"].labels]


def test_numbers_are_named_as_texts(make, tmp_path):
    lines = [{**row, "label": int(row["label"] == "pos")} for row in rows(40)]
    data = make(train=write_csv(tmp_path / "rows.csv", lines), label_map={0: "bad", 1: "fine"})
    assert data.labels == ["bad", "fine"]


def test_tags(make, tmp_path):
    lines = [
        {"tokens": [word for word, _ in line], "tags": [tag for _, tag in line]}
        for line in sentences(40)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    names = {"B-MISC": "B-THING", "I-MISC": "I-THING"}
    data = make(train=str(path), task="token_classification", label_map=names)
    assert data.labels == ["B-THING", "I-THING", "O"]
    assert data.splits["test"].sentences[0].tags[:3] == ["B-THING", "I-THING", "O"]
    with pytest.raises(UserError, match="gives a tag the name 'no entity', but tags have blanks"):
        make(train=str(path), task="token_classification", label_map={"O": "no entity"}).setup()


@pytest.mark.parametrize(
    ("label_map", "said"),
    [
        ({"negative": "BAD"}, r"'negative', but the classes of .*train\.csv are neg, pos"),
        ({"neg": "BAD", "pos": "BAD"}, "'BAD' to the classes 'neg' and 'pos'"),
        ({"neg": "pos"}, "'pos' to the classes 'neg' and 'pos'"),
        ({True: "pos"}, "in quotes"),
    ],
)
def test_what_is_not_one_to_one_is_refused(make, train, label_map, said):
    with pytest.raises(UserError, match=said):
        make(train=train, label_map=label_map).setup()


def test_numbers_have_no_classes_to_map(make, train):
    with pytest.raises(UserError, match="label_map is for classification and token_class"):
        make(train=train, task="regression", label_map={"neg": "BAD"})
