import logging
import math

import numpy as np
import pandas as pd
import pytest

from tokendrop.data.classes import class_names
from tokendrop.data.local import with_names
from tokendrop.data.rows import Rows, read_classes, read_numbers
from tokendrop.data.sources import Table
from tokendrop.data.splitting import limit, make_splits
from tokendrop.errors import UserError


def table(**columns):
    return Table(list(columns.items()), "rows.csv")


def some(texts, labels=None, place="train.csv"):
    labels = labels or [("neg", "pos")[i % 2] for i in range(len(texts))]
    names = [[label] for label in labels]
    numbers = list(range(1, len(texts) + 1))
    return Rows([(t,) for t in texts], labels, numbers, place, names=names, stratified=True)


def split(**given):
    return make_splits(given, 0.1, 0.2, seed=0)


NUMBERED = some([f"text {i}" for i in range(100)], ["rare"] * 10 + ["often"] * 90)


def test_cut_splits_are_disjoint_complete_and_stratified():
    splits = split(train=NUMBERED)
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 70,
        "dev": 10,
        "test": 20,
    }
    assert sorted(t for rows in splits.values() for t in rows.texts) == sorted(NUMBERED.texts)
    assert {name: rows.labels.count("rare") for name, rows in splits.items()} == {
        "train": 7,
        "dev": 1,
        "test": 2,
    }


PINNED = [10, 37, 39, 53, 67, 71, 81, 86, 99, 100]


def test_cut_splits_are_the_same_for_ever():
    # pinned: another cut would make old results incomparable
    assert list(split(train=NUMBERED)["dev"].numbers) == PINNED
    assert list(make_splits({"train": NUMBERED}, 0.1, 0.2, seed=1)["dev"].numbers) != PINNED


def test_rare_class_is_trained_on_before_it_is_tested_on():
    rows = some([f"text {i}" for i in range(20)], ["once", "twice", "twice"] + ["often"] * 17)
    assert {"once", "twice"} <= set(split(train=rows)["train"].labels)


def test_duplicates_are_removed_before_cutting():
    texts = [f"text {i}" for i in range(50)]
    rows = some([*texts, *(f"  TEXT\t{i} " for i in range(50))], ["neg", "pos"] * 50)
    splits = split(train=rows)
    kept = [text.casefold().split()[1] for rows in splits.values() for (text,) in rows.texts]
    assert sorted(kept) == sorted(str(i) for i in range(50))


def test_given_splits_stay_and_train_loses_their_rows(caplog):
    train = some(["one", "two", "Three", "four", "four"])
    dev, test = some(["TWO ", "two"], place="dev.csv"), some([" three", "five"], place="test.csv")
    splits = split(train=train, dev=dev, test=test)
    assert splits["dev"] is dev
    assert splits["test"] is test
    assert splits["train"].texts == [("one",), ("four",), ("four",)]
    (record,) = caplog.records
    assert "train.csv: 2 of 5 training rows" in record.getMessage()


def test_only_the_missing_split_is_cut():
    test = some(["text 3", "text 50"], ["rare", "often"], "test.csv")
    splits = split(train=NUMBERED, test=test)
    assert (len(splits["train"]), len(splits["dev"]), splits["test"]) == (88, 10, test)


def test_pairs_are_the_same_only_if_both_texts_are():
    rows = Rows([("a", "b"), ("a", "c"), ("a b", "")], ["x"] * 3, [1, 2, 3], "p")
    assert len(set(rows.normalised)) == 3


def test_too_few_rows():
    with pytest.raises(UserError, match=r"2 distinct rows .* too few"):
        split(train=some(["one", "two", "ONE"]))


def test_limit_draws_from_everywhere_and_keeps_the_order():
    few = limit(NUMBERED, 20, seed=0)
    assert few.numbers == sorted(few.numbers)
    assert few.numbers[-1] > 50
    assert few == limit(NUMBERED, 20, seed=0) != limit(NUMBERED, 20, seed=1)
    assert limit(NUMBERED, None, 0) is NUMBERED
    assert limit(NUMBERED, 1000, 0) == NUMBERED


def test_few_rows_of_a_split_that_was_cut_have_its_classes_as_chance_has_them():
    drawn = []
    for seed in range(10):
        whole = some([f"text {n}" for n in range(2000)])
        for name, rows in make_splits({"train": whole}, 0.1, 0.2, seed).items():
            if name != "dev":
                drawn.append(limit(rows, 32, seed).labels.count("neg"))
    # chi-square of 20 draws of 32: by chance it is above 46 once in a thousand times
    assert sum((count - 16) ** 2 / 8 for count in drawn) < 46


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([10, 2, 1], ["1", "2", "10"]),
        (["10", "9", "-1"], ["-1", "9", "10"]),
        ([1.0, 0.0, None], ["0", "1"]),
        (["pos", "neg", "10"], ["10", "neg", "pos"]),
        ([True, False, True], ["False", "True"]),
        # as data frames write a column that had a gap
        (["10.0", "9.0", "-1.0", "-2.0"], ["-2.0", "-1.0", "9.0", "10.0"]),
    ],
)
def test_class_names(labels, names):
    kept = [label for label in labels if label is not None]
    rows = read_classes(table(text=["a"] * len(kept), label=kept), ["text"], "label")
    assert class_names({"train": rows, "dev": rows, "test": rows}, None) == names


def test_declared_names_keep_their_order():
    columns = [("text", ["a", "b"]), ("label", [1, 0])]
    rows = read_classes(Table(columns, "set", ["zero", "alpha"]), ["text"], "label")
    assert rows.labels == ["alpha", "zero"]
    splits = {"train": rows, "dev": rows, "test": rows}
    assert class_names(splits, ["zero", "alpha"]) == ["zero", "alpha"]


def test_withheld_label_of_declared_classes_is_missing():
    columns = [("text", ["a", "b"]), ("label", [1, -1])]
    with pytest.raises(UserError, match="set, row 2: no label"):
        read_classes(Table(columns, "set", ["zero", "alpha"]), ["text"], "label")


def test_missing_column_names_the_nearest():
    with pytest.raises(UserError, match=r"rows.csv: .*'txt': did you mean 'text'\?.*label, text"):
        read_classes(table(text=["a"], label=[1]), ["txt"], "label")
    with pytest.raises(UserError, match=r"unknown column 'gold'.*--data.label"):
        read_classes(table(text=["a"], label=[1]), ["text"], "gold")


def test_file_without_header_still_gives_one_line():
    columns = [("3", ["x"]), ("a line\nof text " * 40, ["y"])]
    with pytest.raises(UserError) as caught:
        read_classes(Table(columns, "rows.csv"), ["text"], "label")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_empty_text():
    rows = table(text=["a", " \t", None, ""], label=[1, 0, 1, 0])
    with pytest.raises(UserError, match=r"row 2: empty text in column 'text' \(3 such rows in all"):
        read_classes(rows, ["text"], "label")


def test_one_empty_text_of_a_pair_is_allowed():
    rows = table(first=["a", None], second=["", "b"], label=[1, 0])
    assert read_classes(rows, ["first", "second"], "label").texts == [("a", ""), ("", "b")]
    rows = table(first=["a", None], second=["", " "], label=[1, 0])
    with pytest.raises(UserError, match="row 2: empty text in columns 'first' and 'second'; "):
        read_classes(rows, ["first", "second"], "label")


def test_text_that_is_a_list():
    with pytest.raises(UserError, match="row 1: column 'text' holds a list, not a text"):
        read_classes(table(text=[["a", 1]], label=[1]), ["text"], "label")


def test_list_of_words_is_a_text():
    rows = read_classes(table(text=[["a", "film"]], label=[1]), ["text"], "label")
    assert rows.texts == [("a film",)]


def test_number_as_text():
    assert read_classes(table(text=[1984], label=[1]), ["text"], "label").texts == [("1984",)]


@pytest.mark.parametrize("cell", [None, math.nan, pd.NA, pd.NaT, ""])
def test_missing_label(cell):
    with pytest.raises(UserError, match=r"rows.csv, row 2: no label in column 'label' \(2 such"):
        read_classes(table(text=["a", "b", "c"], label=["x", " ", cell]), ["text"], "label")


def test_no_rows():
    with pytest.raises(UserError, match=r"rows.csv: no rows"):
        read_classes(table(text=[], label=[]), ["text"], "label")


def test_label_that_train_does_not_have():
    train = some(["a", "b"])
    dev = some(["c", "d"], ["neg", "nge"], "dev.csv")
    with pytest.raises(UserError, match=r"dev.csv, row 2: label 'nge' .* known are neg, pos"):
        class_names({"train": train, "dev": dev, "test": train}, None)


@pytest.mark.parametrize("read", [read_classes, read_numbers])
@pytest.mark.parametrize("cell", [["a", "b"], ("a", "b"), np.array([0, 1]), {"a": 1}])
def test_several_labels_in_a_cell(read, cell):
    rows = table(text=["a", "b", "c"], stars=["1", cell, cell])
    with pytest.raises(UserError, match=r"rows.csv, row 2: column 'stars'.*multi-label \(2 such"):
        read(rows, ["text"], "stars")


def test_several_labels_beside_named_classes():
    with pytest.raises(
        UserError, match=r"rows.csv, row 1: column 'label' holds a list.*multi-label"
    ):
        with_names(table(text=["a"], label=[["1", "2"]]), "label", {"1": "one", "2": "two"})


def test_two_declared_classes_of_one_name():
    train = some(["a", "b"])
    with pytest.raises(UserError, match=r"train.csv declares two classes of the name 'pos'"):
        class_names({"train": train, "dev": train, "test": train}, ["pos", "neg", "pos"])


def test_one_class():
    train = some(["a", "b"], ["only", "only"])
    with pytest.raises(UserError, match=r"train.csv: every training row has the label 'only'"):
        class_names({"train": train, "dev": train, "test": train}, None)


def test_a_class_of_which_training_gets_no_row():
    train, dev = some(["a"], ["pos"]), some(["b"], ["neg"])
    with pytest.raises(UserError, match=r"the rows with neg are all in dev or test: add more"):
        class_names({"train": train, "dev": dev, "test": train}, None)


def test_duplicates_in_training_are_said(caplog):
    caplog.set_level(logging.INFO)
    split(train=some([f"text {i % 40}" for i in range(60)]))
    assert "20 duplicate rows" in caplog.text


def test_numbers():
    rows = read_numbers(table(text=["a", "b", "c"], score=["5.000", 2, -1.5]), ["text"], "score")
    assert rows.labels == [5.0, 2.0, -1.5]


@pytest.mark.parametrize("cell", ["five", "inf", "1,5", True, math.inf, "1_000"])
def test_label_that_is_no_number(cell):
    rows = table(text=["a", "b"], score=["1", cell])
    with pytest.raises(UserError, match=r"rows.csv, row 2: .* in column 'score' is not a number"):
        read_numbers(rows, ["text"], "score")


def test_row_without_a_number():
    rows = table(text=["a", "b"], score=[1.0, None])
    with pytest.raises(UserError, match=r"row 2: no label in column 'score'"):
        read_numbers(rows, ["text"], "score")


def test_numbers_are_split_at_random():
    texts = [(f"text {i}",) for i in range(100)]
    rows = Rows(texts, [float(i) for i in range(100)], list(range(100)), "p")
    splits = split(train=rows)
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 70,
        "dev": 10,
        "test": 20,
    }
    assert sorted(n for rows in splits.values() for n in rows.labels) == rows.labels
    assert max(splits["dev"].labels) - min(splits["dev"].labels) > 50


def test_groups_are_never_cut():
    texts = [(f"question {i}", f"context {i // 7}") for i in range(100)]
    rows = Rows(texts, [None] * 100, list(range(100)), "p", shared=1)
    splits = split(train=rows)
    groups = [{context for _, context in rows.texts} for rows in splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 15
    assert 10 <= len(splits["dev"]) < 17
    assert 20 <= len(splits["test"]) < 27
