"""A trained model is evaluated on a file of rows, wherever the data of its training are."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.test_cli import SMALL, complaint, reviews
from tests.data.test_questions import squad
from tests.models.test_class_names import (
    CASES,
    SPEECH,
    TWELVE,
    Case,
    answers,
    case,
    classifier,
    options,
    pairs,
    shown,
    tagger,
    tags,
    texts_of,
)
from tokendrop.cli import main
from tokendrop.errors import UserError
from tokendrop.testing.tiny import MAX_TOKENS

__all__ = ["case", "reviews"]


def alone(case: Case) -> Case:
    """The case without the files of a training."""
    kept = [pair for pair in pairs(case.options) if pair[0] not in ("--data.train", "--data.dev")]
    return Case(case.folder, [word for pair in kept for word in pair], case.metric, case.value)


@pytest.mark.parametrize(("command", "split"), [("test", "test"), ("validate", "dev")])
def test_a_file_of_rows_is_enough(
    command: str, split: str, case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("--data.test", f"--data.{split}") for word in options(alone(case))]
    assert main([command, "--checkpoint", str(case.folder), *words]) == 0
    assert shown(case.metric, capsys) == pytest.approx(case.value, abs=1e-6)


def test_rows_may_lack_a_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES["twelve classes"](tmp_path)
    frame = pd.read_csv(tmp_path / "test.csv")
    most = frame["label"].mode()[0]
    for kept in (frame[frame["label"] != most], frame[frame["label"] == most]):
        kept.to_csv(tmp_path / "test.csv", index=False)
        assert main(["test", "--checkpoint", str(case.folder), *options(alone(case))]) == 0
        right = sum(kept["label"] == answers(case.folder, list(kept["text"])))
        assert shown("accuracy", capsys) == pytest.approx(right / len(kept), abs=1e-6)


def test_words_may_lack_a_tag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES["tags"](tmp_path)
    file = tmp_path / "test.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    kept = [row for row in rows if SPEECH[0] not in row["tags"]]
    assert 0 < len(kept) < len(rows)
    file.write_text("\n".join(map(json.dumps, kept)))
    assert main(["test", "--checkpoint", str(case.folder), *options(alone(case))]) == 0
    found = tags(case.folder, [" ".join(row["tokens"]) for row in kept])
    pairs_of_tags = zip(chain(*(row["tags"] for row in kept)), chain(*found), strict=True)
    right = [one == other for one, other in pairs_of_tags]
    assert shown("accuracy", capsys) == pytest.approx(sum(right) / len(right), abs=1e-6)


def test_a_class_that_the_model_does_not_know_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES["twelve classes"](tmp_path)
    frame = pd.read_csv(tmp_path / "test.csv")
    words = ["test", "--checkpoint", str(case.folder), *options(alone(case))]
    row = frame["label"].eq(TWELVE[3]).idxmax() + 1
    frame.replace(TWELVE[3], "silk").to_csv(tmp_path / "test.csv", index=False)
    said = complaint(capsys, *words)
    assert f"test.csv, row {row}: the model has no 'silk', only {', '.join(TWELVE)}" in said
    assert "data.label_map" in said
    assert "no 'tweed', as label_map calls 'silk'" in complaint(
        capsys, *words, "--data.label_map", "{silk: tweed}"
    )
    # nothing is trained on: one class that is unknown is not one too few
    frame.assign(label="silk").to_csv(tmp_path / "test.csv", index=False)
    assert "row 1: the model has no 'silk'" in complaint(capsys, *words)


@pytest.mark.parametrize(
    ("names", "written", "more"),
    [
        (["dawn", "noon", "dusk"], ["0", "1", "2"], []),
        (["0", "1", "2"], ["0.0", "1.0", "2.0"], []),
        (["LABEL_0", "LABEL_1", "LABEL_2"], ["0", "1", "2"], []),
        (
            ["dawn", "noon", "dusk"],
            ["7", "8", "9"],
            ["--data.label_map", "{7: dawn, 8: noon, 9: dusk}"],
        ),
    ],
    ids=["numbers of names", "decimals of a reader", "numbers of no names", "a map of numbers"],
)
def test_rows_with_numbers_may_lack_a_class_too(
    names: list[str],
    written: list[str],
    more: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = classifier(tmp_path / "model", names)
    texts = texts_of(40, 0)
    found = [names.index(name) for name in answers(folder, texts)]
    assert len(set(found)) > 1
    # every third label is a wrong one
    labels = [(n + (row % 3 == 0)) % 3 for row, n in enumerate(found)]
    file = tmp_path / "later.csv"
    for lacking in (None, *range(3)):
        kept = [row for row in range(40) if labels[row] != lacking]
        lines = [f"{texts[row]},{written[labels[row]]}" for row in kept]
        file.write_text("\n".join(["text,label", *lines]))
        words = ["--data.test", str(file), "--data.max_length", str(MAX_TOKENS), *more]
        assert main(["test", "--checkpoint", str(folder), *words]) == 0
        right = sum(labels[row] == found[row] for row in kept)
        assert shown("accuracy", capsys) == pytest.approx(right / len(kept), abs=1e-6)


def test_what_keeps_a_file_from_being_evaluated_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = classifier(tmp_path / "model", ["dawn", "dusk"])
    file = tmp_path / "later.csv"
    file.write_text("text,label\n" + "the film is long " * 30 + ",dawn\nso dull,dusk\n")
    words = ["test", "--checkpoint", str(folder), "--data.test", str(file), "--data.max_length"]
    assert "use --data.max_length 40 or less" in complaint(capsys, *words, "41")
    words.append("40")
    for task in ("regression", "token_classification"):
        said = complaint(capsys, *words, "--data.task", task)
        assert "is for classification but the data for" in said
    tags = tmp_path / "tags.jsonl"
    tags.write_text(json.dumps({"tokens": ["the", "film"], "tags": [3, 1]}))
    words = ["--data.test", str(tags), "--data.task", "token_classification"]
    words += ["--data.max_length", str(MAX_TOKENS), "--model.metric", "entity_f1"]
    said = complaint(capsys, "test", "--checkpoint", str(tagger(tmp_path / "tagger")), *words)
    assert "where only their names differ, give these with data.label_map" in said


def test_equal_numbers_are_answered_though_nothing_could_be_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = texts_of(40, 0)
    task = ["--data.task", "regression", "--model.metric", "pearson"]
    file = tmp_path / "numbers.csv"
    file.write_text("\n".join(["text,label", *(f"{t},{n % 5}" for n, t in enumerate(texts))]))
    words = [*SMALL, *task, "--data.train", str(file), "--out", str(tmp_path / "out")]
    assert main(["fit", *words]) == 0
    file.write_text("\n".join(["text,label", *(f"{text},2.5" for text in texts)]))
    model = str(tmp_path / "out" / "model")
    assert main(["test", "--checkpoint", model, "--data.test", str(file)]) == 0
    assert shown("pearson", capsys) == 0


def test_names_of_the_data_are_translated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES["two classes"](tmp_path)
    frame = pd.read_csv(tmp_path / "test.csv").replace({"yes": "good", "no": "bad"})
    frame[frame["label"] == "good"].to_csv(tmp_path / "test.csv", index=False)
    words = [*options(alone(case)), "--data.label_map", '{good: "yes", bad: "no"}']
    assert main(["test", "--checkpoint", str(case.folder), *words]) == 0
    found = answers(case.folder, list(frame[frame["label"] == "good"]["text"]))
    expected = found.count("yes") / len(found)
    assert shown("accuracy", capsys) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["regression", "question_answering", "classification"])
def test_the_files_of_the_training_may_be_gone(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    files = {}
    for split in ("train", "dev", "test"):
        if kind == "question_answering":
            files[split] = squad(tmp_path / f"{split}.json", {"train": 20}.get(split, 5))
            continue
        rows = range({"train": 0, "dev": 40, "test": 50}[split], {"train": 40}.get(split, 60))
        labels = [0.5 * (n % 7) if kind == "regression" else "ab"[n % 2] for n in rows]
        frame = pd.DataFrame({"text": [f"film number {n} is long" for n in rows], "label": labels})
        frame.to_csv(tmp_path / f"{split}.csv", index=False)
        files[split] = str(tmp_path / f"{split}.csv")
    out, model = tmp_path / "out", str(tmp_path / "out" / "model")
    words = [word for split, file in files.items() for word in (f"--data.{split}", file)]
    length = (
        ["--data.max_length", "64", "--data.doc_stride", "16"]
        if kind == "question_answering"
        else []
    )
    metric = {"regression": "spearman", "question_answering": "f1"}.get(kind, "accuracy")
    words += ["--data.task", kind, *length, "--model.metric", metric]
    assert main(["fit", *SMALL, *words, "--out", str(out)]) == 0
    assert main(["test", "--checkpoint", model]) == 0
    expected = shown("loss", capsys)
    card = (Path(model) / "README.md").read_text()
    Path(files["train"]).unlink()
    Path(files["dev"]).unlink()
    elsewhere = Path(files["test"]).rename(tmp_path / f"other{Path(files['test']).suffix}")
    given = ["--data.test", str(elsewhere)]
    if kind == "classification":
        pd.read_csv(elsewhere).rename(columns={"text": "body"}).to_csv(elsewhere, index=False)
        given += ["--data.text", "body"]
    caplog.clear()
    assert main(["test", "--checkpoint", model, *given]) == 0
    assert shown("loss", capsys) == pytest.approx(expected, abs=1e-6)
    assert "with --data.test the figures are of other data" in caplog.text
    assert (Path(model) / "README.md").read_text() == card


def test_other_rows_in_a_file_of_the_same_name(
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    lines = reviews.read_text().splitlines()
    (ours / "rows.csv").write_text("\n".join(lines))
    monkeypatch.chdir(ours)
    assert main(["fit", *SMALL, "--data.train", "rows.csv", "--out", "out"]) == 0
    model, card = str(ours / "out" / "model"), ours / "out" / "model" / "README.md"
    of_fit = card.read_text()
    monkeypatch.chdir(theirs)
    for command, split in (("test", "test"), ("validate", "dev")):
        said = complaint(capsys, command, "--checkpoint", model)
        assert f"no such file: rows.csv, which {model} was trained with" in said
        assert f"--data.{split} FILE" in said
    (theirs / "rows.csv").write_text("\n".join(lines[:41]))
    caplog.clear()
    for command in ("test", "validate"):
        assert main([command, "--checkpoint", model]) == 0
        assert f"the rows of rows.csv are others than those that {model} was" in caplog.text
        caplog.clear()
    assert card.read_text() == of_fit
    monkeypatch.chdir(ours)
    for _ in range(2):
        assert main(["test", "--checkpoint", model]) == 0
    assert main(["validate", "--checkpoint", model]) == 0
    assert "others than those" not in caplog.text
    assert card.read_text() != of_fit


def test_a_model_of_other_rows_is_told_to_go_before_it_is_trained(
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(reviews.read_text())
    words = ["fit", *SMALL, "--data.train", str(file), "--out", str(tmp_path / "out")]
    assert main(words) == 0

    def stop(*_: object) -> None:
        raise UserError("before the training")

    monkeypatch.setattr("tokendrop.training.recipes.train", stop)
    caplog.clear()
    assert "before the training" in complaint(capsys, *words)
    assert "will be replaced" not in caplog.text
    assert "before the training" in complaint(capsys, *words, "--trainer.limit_train_batches", "2")
    told = f"{tmp_path / 'out' / 'model'} was trained with these settings, but "
    assert f"{told}with trainer.limit_train_batches null, which is 2 now" in caplog.text
    file.write_text(reviews.read_text().replace("good", "fine"))
    assert "before the training" in complaint(capsys, *words)
    assert f"{told}on other rows" in caplog.text


def test_a_dataset_takes_the_place_of_the_files_of_the_training(
    reviews: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = reviews.read_text().replace(",good", ",positive").replace(",bad", ",negative")
    (tmp_path / "rows.csv").write_text(rows)
    words = ["--data.train", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out")]
    assert main(["fit", *SMALL, *words]) == 0
    model = str(tmp_path / "out" / "model")
    dataset = ["--data.dataset", "rotten_tomatoes", "--data.test_rows", "16"]
    assert main(["test", "--checkpoint", model, *dataset, "--data.train_rows", "16"]) == 0
    assert "test/accuracy" in capsys.readouterr().out
