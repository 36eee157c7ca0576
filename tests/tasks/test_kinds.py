"""A kind of task is one object in one file: nothing outside ``tasks/`` knows one by its name."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

import tokendrop
from tests.cli.test_cli import SMALL
from tests.tasks import balanced
from tests.tasks.balanced import Balanced
from tests.tasks.stars import Stars
from tokendrop.cli import main
from tokendrop.data import TextData
from tokendrop.data.split import Split
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.reducers.dense import Dense
from tokendrop.tasks import KINDS, Task, add_kind
from tokendrop.tasks.given import rows_of, split_of, task_of
from tokendrop.training.module import TokenDropModule

PACKAGE = Path(tokendrop.__file__).parent
# a column of ERASER's files has the name of a kind
OTHER_MEANINGS = {
    ("data/rationales.py", "classification"),
    # what Hugging Face's configurations call a head for numbers
    ("models/backbones.py", "regression"),
    ("models/checkpoints.py", "regression"),
}


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


def test_a_kind_does_not_take_the_place_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(name: str) -> type[Balanced]:
        class Forgetful(Balanced):
            kind = name

        return Forgetful

    before = dict(KINDS)
    with pytest.raises(UserError, match=r"Forgetful is called 'regression', as .*\.Regression is"):
        add_kind(called("regression"))
    assert before == KINDS
    monkeypatch.setitem(KINDS, "forgetful", called("forgetful"))
    # as where a cell of a notebook is run again
    again = called("forgetful")
    add_kind(again)
    assert KINDS["forgetful"] is again


def test_what_a_kind_lacks_is_named() -> None:
    class Half(Task):
        kind = "half"
        metrics = ("closeness",)

        def loss(self, logits: Tensor, batch: Batch) -> Tensor:
            return logits.sum()

    said = "Half has no head, answers, gold, read_rows, scores, tokenised, which every kind of task"
    with pytest.raises(UserError, match=said):
        add_kind(Half)


def test_an_unknown_kind_is_named_with_the_nearest() -> None:
    said = r"unknown kind of task 'clasification': did you mean 'classification'.*add_kind"
    with pytest.raises(UserError, match=said):
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


COMPARISON = """
random_init: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}
fine_tune: {epochs: 2, learning_rate: 3.0e-3}
clock: {rows: 4, single_rows: 1, rounds: 1}
loggers: [csv]
methods:
  dense: {reducer: Dense}
  truncation: {reducer: baselines.Truncation, arguments: {tokens: 3}}
"""


def test_a_metric_from_outside_is_compared_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, Balanced.kind, Balanced)
    lines = [f"a {'poor' if n % 5 == 0 else 'good'} day {n},{n % 5 == 0}" for n in range(200)]
    (tmp_path / "days.csv").write_text("\n".join(["text,label", *lines]))
    task = {"data": {"train": str(tmp_path / "days.csv"), "max_length": 16, "task": "balanced"}}
    (tmp_path / "days.yaml").write_text(json.dumps(task | {"model": {"metric": balanced.NAME}}))
    (tmp_path / "compare.yaml").write_text(f"tasks: [{tmp_path / 'days.yaml'}]\n{COMPARISON}")
    out = tmp_path / "out"
    config = ["--config", str(tmp_path / "compare.yaml"), "--out", str(out)]
    assert main(["compare", *config]) == 0
    results = pd.read_csv(out / "results.csv")
    assert set(results["metric"]) == {balanced.NAME}
    for record in (out / "runs").glob("*.json"):
        run = json.loads(record.read_text())
        saved = pd.read_csv(out / run["predictions_file"], dtype={"label": str})
        found = saved[["False", "True"]].idxmax(axis=1)
        assert run["value"] == pytest.approx(balanced_accuracy_score(saved["label"], found))
    # its interval comes from the saved predictions, by the metric's own resamples
    assert "95% interval" in (out / "summary.md").read_text(encoding="utf-8")


def test_the_metric_of_the_guide_leaves_out_classes_that_do_not_occur() -> None:
    split = Split([("x",)] * 4, [[1]] * 4, [[0]] * 4, [0, 0, 1, 1], 0)
    scores = Balanced(["a", "b", "c"], balanced.NAME).scores(split)
    batch = Batch.pack(split.input_ids, labels=split.labels, examples=range(4))
    scores.update(torch.eye(3)[[0, 2, 1, 1]], batch)
    assert float(scores.compute()[balanced.NAME]) == pytest.approx(0.75)
    (resampled,) = Balanced.of_resamples(balanced.NAME, scores.examples())(np.ones((1, 4)))
    assert resampled == pytest.approx(0.75)


@pytest.mark.usefixtures("stars")
def test_a_kind_from_outside_has_its_own_metrics_and_options() -> None:
    with pytest.raises(UserError, match="'accuracy' does not measure stars: choose closeness"):
        Stars("accuracy")
    with pytest.raises(UserError, match="class_weights are for classification: leave them out"):
        TextData(train="t.csv", task="stars", class_weights="balanced")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, r"no 'closeness', which is the metric.*\(it gave none\)"),
        ({"nearness": torch.tensor(0.5)}, r"no 'closeness'.*\(it gave 'nearness'\)"),
        ({"closeness": torch.tensor(torch.nan)}, "'closeness' as tensor.nan.: give one finite"),
        ({"closeness": 0.5, "margin": -np.inf}, "'margin' as -inf: give one finite"),
        ({"closeness": torch.ones(2)}, "'closeness' as .*: give one finite number"),
        ({"closeness": np.float64(84.5)}, "'closeness' as 84.5: a metric is at most 1"),
    ],
)
def test_scores_that_no_table_could_show_are_named(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, object], said: str
) -> None:
    scores = Stars("closeness").scores(Split([("x",)], [[1]], [[0]], [1], 0))
    monkeypatch.setattr(scores, "compute", lambda: given)
    with pytest.raises(UserError, match=rf"StarScores.compute gave {said}"):
        scores.values(Stars.metrics[0])


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        ("read_rows", [1, 2], r"Stars.read_rows gave \[1, 2\]: give a Rows"),
        ("tokenised", None, "Stars.tokenised gave None: give a Split"),
        ("pose", None, "Stars.pose gave None: give a Task"),
        ("output_names", ["more"], r"Stars.outputs is 2, but output_names gave the 1 names"),
    ],
)
def test_what_a_kind_gives_is_named(
    monkeypatch: pytest.MonkeyPatch, function: str, given: object, said: str
) -> None:
    act: dict[str, Callable[[], object]] = {
        "read_rows": lambda: rows_of(Stars),
        "tokenised": lambda: split_of(Stars),
    }
    monkeypatch.setattr(Stars, function, lambda *_: given)
    with pytest.raises(UserError, match=said):
        act.get(function, lambda: task_of(Stars, {}, [], [], "closeness", None))()


@pytest.mark.parametrize("loss", [0.5, torch.ones(3, 2)])
def test_a_loss_that_is_no_scalar_is_the_kind_s(
    monkeypatch: pytest.MonkeyPatch, loss: object
) -> None:
    module = TokenDropModule(Dense())
    module.task = Stars("closeness")
    monkeypatch.setattr(Stars, "loss", lambda *_: loss)
    with pytest.raises(UserError, match=r"^Stars.loss gave .*: give a scalar tensor"):
        module._task_loss(cast(Any, SimpleNamespace(logits=None, batch=None)))


def test_scores_may_be_any_numbers_up_to_1(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = Stars("closeness").scores(Split([("x",)], [[1]], [[0]], [1], 0))
    monkeypatch.setattr(scores, "compute", lambda: {"closeness": np.float32(-1.5), "other": 1})
    assert scores.values(Stars.metrics[0]) == {"closeness": -1.5, "other": 1.0}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("metrics", ("closeness", "kept_tokens"), "has a metric 'kept_tokens', by which"),
        ("metrics", ("loss",), "has a metric 'loss', by which"),
        ("metrics", "closeness", "metrics is 'closeness': use a tuple of str, with a comma"),
        ("metrics", (), r"metrics is \(\): use a tuple of str"),
        ("text", "review", "text is 'review': use a tuple of str"),
        ("counts", 2, "counts is 2: use a tuple of int"),
    ],
)
def test_what_a_kind_says_of_itself_is_checked(name: str, value: object, said: str) -> None:
    wrong = type("Wrong", (Stars,), {"kind": "wrong", name: value})
    with pytest.raises(UserError, match=f"Wrong.*{said}"):
        add_kind(wrong)
