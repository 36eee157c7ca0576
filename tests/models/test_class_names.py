"""A finished model's classes are found by their names, in whatever order it has them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from sklearn.metrics import f1_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
)

import tokendrop
from tests.models.test_model import WORDS, tokenizer
from tokendrop.cli import main
from tokendrop.testing.tiny import CONFIGS, MAX_TOKENS, randomised, tiny_model

TWELVE = ["tea", "rain", "moss", "wool", "salt", "iron", "clay", "reed", "fern", "chalk", "sand"]
TWELVE += ["oak"]  # not in the order of the alphabet, by which data number their classes
SPEECH = ["verb", "noun", "adverb", "article"]


def texts_of(count: int, seed: int) -> list[str]:
    """Different texts of three to nine words."""
    draw = random.Random(seed)
    words = [word for word in WORDS if word.isalpha()]
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(draw.choices(words, k=draw.randint(3, 9)))] = None
    return list(found)


def classifier(folder: Path, names: Sequence[str]) -> Path:
    """A plain Hugging Face classifier of random weights that has these classes."""
    model = tiny_model("bert", id2label=dict(enumerate(names)))
    return saved(model, folder)


def saved(model: PreTrainedModel, folder: Path) -> Path:
    """The folder of a random model, whose head is made to give about all of its answers."""
    read: Any = tokenizer()
    with torch.no_grad():
        found = [model(**read(text, return_tensors="pt")).logits for text in texts_of(40, 9)]
        every = torch.cat([logits.reshape(-1, model.config.num_labels) for logits in found])
        model.classifier.bias.sub_(every.mean(0))
    model.save_pretrained(folder)
    read.save_pretrained(folder)
    return folder


def answers(folder: Path, texts: Sequence[str]) -> list[str]:
    """The class that plain Hugging Face gives to each text."""
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    read = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        best = [int(model(**read(text, return_tensors="pt")).logits.argmax()) for text in texts]
    return [model.config.id2label[number] for number in best]


def tagger(folder: Path) -> Path:
    torch.manual_seed(0)
    config = CONFIGS["bert"]()
    config.id2label = dict(enumerate(SPEECH))
    return saved(randomised(AutoModelForTokenClassification.from_config(config)), folder)


def tags(folder: Path, texts: Sequence[str]) -> list[list[str]]:
    """The tag that plain Hugging Face gives to each word, all of which are one token."""
    model = AutoModelForTokenClassification.from_pretrained(folder)
    read = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = [model(**read(text, return_tensors="pt")).logits[0, 1:-1] for text in texts]
    return [[model.config.id2label[n] for n in rows.argmax(-1).tolist()] for rows in logits]


@dataclass(frozen=True)
class Case:
    """A finished model with data of its classes, of which it answers three quarters right.

    Attributes:
        value: accuracy on the test rows by plain Hugging Face; of two classes, F1.
    """

    folder: Path
    options: list[str]
    metric: str
    value: float


def wrong(names: Sequence[str], right: str) -> str:
    return names[(names.index(right) + 1) % len(names)]


def classes_case(folder: Path, names: Sequence[str]) -> Case:
    model = classifier(folder / "model", names)
    files = []
    for seed, split in enumerate(("train", "dev", "test")):
        texts = texts_of(48, seed)
        found = answers(model, texts)
        labels = [wrong(names, a) if row % 4 == 0 else a for row, a in enumerate(found)]
        # every class has training rows
        labels = [names[row % len(names)] for row in range(48)] if split == "train" else labels
        file = folder / f"{split}.csv"
        rows = [f"{text},{label}" for text, label in zip(texts, labels, strict=True)]
        file.write_text("\n".join(["text,label", *rows]))
        files += [f"--data.{split}", str(file)]
    assert len(set(found)) >= min(5, len(names))
    if len(names) > 2:
        value = sum(a == b for a, b in zip(found, labels, strict=True)) / len(labels)
        return Case(model, files, "accuracy", value)
    return Case(model, files, "f1", f1_score(labels, found, pos_label=sorted(names)[1]))


def tags_case(folder: Path) -> Case:
    model = tagger(folder / "model")
    options = ["--data.task", "token_classification"]
    for seed, split in enumerate(("train", "dev", "test")):
        texts = texts_of(24, seed)
        found = tags(model, texts)
        labels = [[wrong(SPEECH, row[0]), *row[1:]] for row in found]
        lines = [
            {"tokens": text.split(), "tags": row} for text, row in zip(texts, labels, strict=True)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
        options += [f"--data.{split}", str(folder / f"{split}.jsonl")]
    words = sum(map(len, found))
    assert len({tag for row in found for tag in row}) == len(SPEECH)
    return Case(model, options, "accuracy", (words - len(found)) / words)


CASES: dict[str, Callable[[Path], Case]] = {
    "twelve classes": lambda folder: classes_case(folder, TWELVE),
    "two classes": lambda folder: classes_case(folder, ["yes", "no"]),
    "tags": tags_case,
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return CASES[request.param](tmp_path_factory.mktemp("case"))


def options(case: Case) -> list[str]:
    small = ["--data.max_length", str(MAX_TOKENS), "--data.batch_size", "8"]
    return [*case.options, *small, "--model.metric", case.metric]


def shown(metric: str, capsys: pytest.CaptureFixture[str]) -> float:
    """A metric in the table that an evaluation prints."""
    found = re.search(rf"/{metric}\D+([\d.]+)", capsys.readouterr().out)
    assert found is not None
    return float(found[1])


def test_a_plain_classifier_is_tested_as_hugging_face_would(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(case.folder.rglob("*"))
    assert main(["test", "--checkpoint", str(case.folder), *options(case)]) == 0
    assert shown(case.metric, capsys) == pytest.approx(case.value, abs=1e-6)
    assert sorted(case.folder.rglob("*")) == before


def test_fit_begins_with_what_the_classifier_knows(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model.backbone", str(case.folder), "--model.fine_tune.epochs", "1"]
    words += ["--model.fine_tune.learning_rate", "1e-12", "--out", str(tmp_path)]
    assert main(["fit", *options(case), *words]) == 0
    assert main(["test", "--checkpoint", str(tmp_path / "model")]) == 0
    assert shown(case.metric, capsys) == pytest.approx(case.value, abs=1e-6)
    names = tokendrop.load(case.folder).labels
    assert tokendrop.load(tmp_path / "model").labels == names


def compared(case: Case, folder: Path, command: str, **data: str) -> Path:
    """The output folder of a comparison that takes the model as it is."""
    names = {name.removeprefix("--data."): value for name, value in pairs(case.options)}
    task = {"data": {**names, "max_length": MAX_TOKENS, **data}, "model": {"metric": case.metric}}
    (folder / "words.yaml").write_text(yaml.safe_dump(task))
    comparison = {
        "backbone": str(case.folder),
        "fine_tune": None,
        "clock": {"rows": 8, "single_rows": 1, "rounds": 1},
        "loggers": ["csv"],
        "tasks": [str(folder / "words.yaml")],
        "methods": {"dense": {"reducer": "Dense"}},
    }
    (folder / "comparison.yaml").write_text(yaml.safe_dump(comparison))
    out = folder / "out"
    config = str(folder / "comparison.yaml")
    assert main([command, "--config", config, "--out", str(out)]) == 0
    return out


def pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2], strict=True))


def test_compare_takes_the_classifier_as_it_is(case: Case, tmp_path: Path) -> None:
    out = compared(case, tmp_path, "compare")
    (value,) = pd.read_csv(out / "results.csv")["value"]
    assert value == pytest.approx(case.value, abs=1e-6)
    if case.metric == "f1":
        # the interval is worked out from the saved predictions, by the same second class
        (predictions,) = out.glob("predictions/*.csv")
        frame = pd.read_csv(predictions)
        assert list(frame.columns) == ["example", "label", "no", "yes", "score"]
        found = frame[["no", "yes"]].idxmax(axis=1)
        assert f1_score(frame["label"], found, pos_label="yes") == pytest.approx(value)


def test_rationale_judges_by_the_same_classes(tmp_path: Path) -> None:
    case = classes_case(tmp_path, TWELVE)
    for _, file in pairs(case.options):
        frame = pd.read_csv(file)
        marks = [[1] + [0] * text.count(" ") for text in frame["text"]]
        frame.assign(rationale=marks).to_json(f"{file}.jsonl", orient="records", lines=True)
    words = [word + ".jsonl" * word.endswith(".csv") for word in case.options]
    marked = Case(case.folder, words, case.metric, case.value)
    out = compared(marked, tmp_path, "rationale", rationale="rationale")
    found = pd.read_csv(out / "rationale.csv")
    assert found["accuracy"].to_numpy() == pytest.approx(case.value)


def test_names_of_more_than_ten_classes_survive_saving(tmp_path: Path) -> None:
    folder = classifier(tmp_path, TWELVE)
    texts = texts_of(20, 0)
    model = tokendrop.load(folder)
    assert model.labels == TWELVE
    assert [prediction.label for prediction in model.predict(texts)] == answers(folder, texts)


class TestNumbers:
    """Names that say nothing but a number are matched by it, which is said once."""

    @pytest.mark.parametrize(
        ("names", "classes", "kept", "said"),
        [
            (["LABEL_0", "LABEL_1"], ["no", "yes"], ["no", "yes"], "LABEL_0 is no, LABEL_1 is yes"),
            (["yes", "no"], ["0", "1"], ["yes", "no"], "yes is 0, no is 1"),
        ],
    )
    def test_of_either_side(
        self,
        names: list[str],
        classes: list[str],
        kept: list[str],
        said: str,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        folder = classifier(tmp_path / "start", names)
        rows = [f"{text},{classes[row % 2]}" for row, text in enumerate(texts_of(40, 0))]
        (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]))
        words = ["--data.train", str(tmp_path / "rows.csv"), "--data.max_length", str(MAX_TOKENS)]
        words += ["--model.backbone", str(folder), "--model.fine_tune.epochs", "1"]
        words += ["--model.reducer", "DactBert", "--model.reducer.epochs", "1"]
        assert main(["fit", *words, "--out", str(tmp_path / "out")]) == 0
        assert sum(said in record.getMessage() for record in caplog.records) == 1
        # the names that say something stay
        assert tokendrop.load(tmp_path / "out" / "model").labels == kept
