"""A kind of task is one object in one file: nothing outside ``tasks/`` knows one by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import tokendrop
from tests.cli.test_cli import SMALL
from tests.tasks.stars import Stars
from tokendrop.cli import main
from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.tasks import KINDS, add_kind

PACKAGE = Path(tokendrop.__file__).parent
# a column of ERASER's files has the name of a kind
OTHER_MEANINGS = {("data/rationales.py", "classification")}


def modules() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if PACKAGE / "tasks" not in path.parents]


def names_of_kinds(tree: ast.Module) -> Iterator[str]:
    """Names of kinds that a module says, but for the default of an option."""
    defaults = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            defaults |= {id(value) for value in (*node.defaults, *node.kw_defaults)}
        elif isinstance(node, ast.AnnAssign):
            defaults.add(id(node.value))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and node.value in list(KINDS)
            and id(node) not in defaults
        ):
            yield node.value


def test_no_kind_is_named_outside_its_file() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in modules()
        for name in names_of_kinds(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == OTHER_MEANINGS


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown kind of task 'clasification'.*'classification'"):
        TextData(train="t.csv", task="clasification")


@pytest.fixture
def stars() -> Iterator[None]:
    """The one registration that a kind from outside needs."""
    add_kind(Stars)
    yield
    del KINDS[Stars.kind]


@pytest.mark.usefixtures("stars")
def test_a_kind_from_outside_is_trained_evaluated_and_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["dull", "fine", "great"]
    lines = [f"a {words[n % 3]} film and {'so ' * (n // 3)}on,{1 + n % 3}" for n in range(60)]
    (tmp_path / "stars.csv").write_text("\n".join(["review,stars", *lines]))
    data = ["--data.task", "stars", "--data.train", str(tmp_path / "stars.csv")]
    method = ["--model.metric", "closeness", "--model.reducer", "DactBert"]
    method += ["--model.reducer.epochs", "1"]
    assert main(["fit", *SMALL, *data, *method, "--out", str(tmp_path)]) == 0
    folder = tmp_path / "model"
    assert main(["test", "--checkpoint", str(folder)]) == 0
    assert "closeness" in capsys.readouterr().out
    model = tokendrop.load(folder)
    assert (model.shape.task, model.shape.classes) == ("stars", 2)
    reviews = TextData(**{"task": "stars", "train": str(tmp_path / "stars.csv"), "max_length": 32})
    reviews.use_tokenizer(model.tokenizer)
    split, task = reviews.splits["test"], reviews.make_task("closeness")
    scores = task.scores(split)
    with torch.no_grad():
        for batch in reviews.test_dataloader():
            scores.update(model(batch).logits, batch)
    saved = scores.examples()
    assert [found.label for found in model.predict(split.texts)] == saved["answer"].tolist()
    value = float(scores.compute()["closeness"])
    (resampled,) = Stars.of_resamples("closeness", saved)(np.ones((1, len(saved))))
    assert resampled == pytest.approx(value)


@pytest.mark.usefixtures("stars")
def test_a_kind_from_outside_has_its_own_metrics_and_options() -> None:
    with pytest.raises(UserError, match="'accuracy' does not measure stars: choose closeness"):
        Stars("accuracy")
    with pytest.raises(UserError, match="class_weights are for classification: leave them out"):
        TextData(train="t.csv", task="stars", class_weights="balanced")
