"""A trained model is evaluated on a file of rows, wherever the data of its training are."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest

from tests.cli.test_cli import SMALL, complaint
from tests.data.test_questions import squad
from tests.models.test_class_names import (
    CASES,
    SPEECH,
    TWELVE,
    Case,
    answers,
    case,
    options,
    pairs,
    shown,
    tags,
)
from tokendrop.cli import main

__all__ = ["case"]


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
    frame = pd.read_csv(tmp_path / "test.csv").replace(TWELVE[3], "silk")
    frame.to_csv(tmp_path / "test.csv", index=False)
    said = complaint(capsys, "test", "--checkpoint", str(case.folder), *options(alone(case)))
    assert "the model has no 'silk'" in said


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
