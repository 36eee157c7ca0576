"""The floor: words counted and weighed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

from tests.compare.synthetic import grid
from tests.models.test_model import tokenizer
from tests.tasks.stars import Stars
from tokendrop.compare.grid.floor import check_floor, write_floor
from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.summary import write_summary
from tokendrop.compare.results.floor import floor_path, read_floors
from tokendrop.compare.results.frame import results_frame
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.heads import SPAN
from tokendrop.tasks import SequenceClassification

PRAISE = ["we laughed", "it shines", "a joy", "never drags", "true and funny"]
BLAME = ["we slept", "it drags", "a chore", "never funny", "thin and false"]


@pytest.fixture
def data(tmp_path: Path) -> TextData:
    tokenizer().save_pretrained(tmp_path / "tokenizer")
    subjects = [f"the {word}" for word in ("plot", "hero", "song", "sequel", "ending", "voice")]
    rows = [f"{subject} {words},good" for subject in subjects for words in PRAISE]
    rows += [f"{subject} {words},bad" for subject in subjects for words in BLAME]
    for name, part in (("train", rows[::2]), ("dev", rows[1::4]), ("test", rows[3::4])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["text,label", *part]))
    files = {name: str(tmp_path / f"{name}.csv") for name in ("train", "dev", "test")}
    return TextData(**files, tokenizer=str(tmp_path / "tokenizer"), max_length=24, batch_size=4)


def test_it_is_what_scikit_learn_makes_of_the_words(data: TextData, tmp_path: Path) -> None:
    write_floor("reviews", data, "f1", tmp_path)
    (floor,) = read_floors(tmp_path)
    train, test = data.splits["train"], data.splits["test"]
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    counted = words.fit_transform([text for (text,) in train.texts])
    regression = LogisticRegression(C=floor.strength, max_iter=1000).fit(counted, train.labels)

    def answers(split) -> list[int]:
        return regression.predict(words.transform([text for (text,) in split.texts]))

    assert floor.metric == "f1"
    assert floor.value == pytest.approx(f1_score(test.labels, answers(test)))
    assert floor.metrics["accuracy"] == pytest.approx(accuracy_score(test.labels, answers(test)))
    assert floor.metrics["accuracy"] > 0.7  # it has learned something


def test_a_class_without_training_rows_is_never_answered(data: TextData, tmp_path: Path) -> None:
    data.setup()
    split = data.splits["train"]
    only_some = [label + 1 for label in split.labels]
    three = SequenceClassification(["unseen", "bad", "good"])
    splits = {
        name: replace(part, labels=only_some if name == "train" else [n + 1 for n in part.labels])
        for name, part in data.splits.items()
    }
    with (
        patch.object(TextData, "splits", splits),
        patch.object(TextData, "labels", three.labels),
        patch.object(data, "make_task", lambda metric: three),
    ):
        write_floor("reviews", data, "accuracy", tmp_path)
    assert read_floors(tmp_path)[0].value > 0.7


def test_it_stands_below_the_tables_and_not_in_them(data: TextData, tmp_path: Path) -> None:
    write_floor("reviews", data, "accuracy", tmp_path)
    floors, runs = read_floors(tmp_path), grid()
    for path in (write_summary(tmp_path, runs, floors), write_report(tmp_path, runs, floors).path):
        text = path.read_text(encoding="utf-8")
        assert f"{100 * floors[0].value:.2f} % accuracy on reviews" in text
    assert len(results_frame(runs)) == len(runs)


def test_other_kinds_of_tasks_have_no_such_floor(data: TextData) -> None:
    class Other(SequenceClassification):
        kind, head = "question_answering", SPAN

    with (
        patch.object(data, "make_task", lambda metric: Other(["a", "b"])),
        pytest.raises(UserError, match="question answering, which the TF-IDF floor cannot do"),
    ):
        check_floor("squad", data, "accuracy")


def test_a_kind_whose_outputs_are_no_classes_has_no_such_floor(data: TextData) -> None:
    with (
        patch.object(TextData, "labels", []),
        patch.object(data, "make_task", Stars),
        pytest.raises(UserError, match="task reviews is stars, which the TF-IDF floor cannot do"),
    ):
        check_floor("reviews", data, "closeness")


def test_rows_of_one_class_are_refused_before_anything_is_trained(data: TextData) -> None:
    alone = replace(data.splits["train"], labels=[1] * len(data.splits["train"]))
    with (
        patch.dict(data.splits, {"train": alone}),
        pytest.raises(UserError, match="training rows of reviews are of one class"),
    ):
        check_floor("reviews", data, "accuracy")


def test_a_torn_record_is_named(tmp_path: Path) -> None:
    path = floor_path(tmp_path, "reviews")
    path.parent.mkdir()
    path.write_text('{"task": "rev')
    with pytest.raises(UserError, match=r"reviews\.json is not a whole record"):
        read_floors(tmp_path)
