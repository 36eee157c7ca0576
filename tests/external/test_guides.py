"""The guides to families and kinds of task, as a reader would follow them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from transformers import ErnieConfig

from tests.cli.test_cli import SMALL, complaint
from tests.external.documents import ROOT, block
from tests.models.test_model import tokenizer
from tokendrop.families import FAMILIES, Family
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.dense import Dense
from tokendrop.tasks import KINDS
from tokendrop.testing.tiny import CONFIGS, MAX_TOKENS, SIZES, tiny_model

A_FAMILY = ROOT / "docs" / "write_a_family.md"
A_TASK = ROOT / "docs" / "write_a_task.md"
TASKS = ROOT / "tests" / "tasks"


@pytest.fixture
def without_ernie() -> Iterator[None]:
    yield
    for known in (FAMILIES, CONFIGS):
        known.pop("ernie", None)


@pytest.mark.usefixtures("without_ernie")
def test_the_family_of_the_guide_is_held_to_the_contract() -> None:
    scope: dict[str, Callable[[], None]] = {}
    exec(block(A_FAMILY, "python", 'FAMILIES["ernie"]'), scope)
    exec(block(A_FAMILY, "python", "def test_ernie"), scope)
    scope["test_ernie"]()


@pytest.mark.usefixtures("without_ernie")
def test_the_script_of_the_guide_knows_the_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ernie.py").write_text(block(A_FAMILY, "python", 'FAMILIES["ernie"]'))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(CONFIGS, "ernie", lambda: ErnieConfig(**SIZES, use_task_id=True))
    FAMILIES["ernie"] = Family()
    model = TokenDropModel(tiny_model("ernie"), Dense(), tokenizer(), MAX_TOKENS)
    model.save_pretrained(tmp_path / "model")
    del FAMILIES["ernie"]
    words = ["predict", "--checkpoint", str(tmp_path / "model"), "the plot is thin"]
    assert "'ernie' are not supported" in complaint(capsys, *words)
    monkeypatch.setattr(sys, "argv", ["with_ernie.py", *words])
    with pytest.raises(SystemExit) as ended:
        exec(block(A_FAMILY, "python", "import ernie"), {})
    assert ended.value.code == 0
    assert "[CLS] the plot is thin" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["stars", "balanced"])
def test_the_guide_shows_kinds_that_are_tested(name: str) -> None:
    assert block(A_TASK, "python", f"class {name.capitalize()}(") == (
        TASKS / f"{name}.py"
    ).read_text(encoding="utf-8")


def test_the_script_of_the_guide_trains_and_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "stars.py").write_text((TASKS / "stars.py").read_text(encoding="utf-8"))
    lines = [f"a {['dull', 'fine', 'great'][n % 3]} film {n // 3},{1 + n % 3}" for n in range(45)]
    (tmp_path / "reviews.csv").write_text("\n".join(["review,stars", *lines]))

    def run(*words: str) -> str:
        # as in a process of its own, which knows no kind before the script adds it
        monkeypatch.setattr(sys, "argv", ["with_stars.py", *words])
        monkeypatch.delitem(sys.modules, "stars", raising=False)
        with patch.dict(KINDS), pytest.raises(SystemExit) as ended:
            exec(block(A_TASK, "python", "raise SystemExit"), {})
        said = capsys.readouterr()
        assert ended.value.code == 0, said.err
        return said.out

    data = ["--data.task", "stars", "--data.train", "reviews.csv", "--model.metric", "closeness"]
    run("fit", *SMALL, *data, "--out", "out")
    said = run("predict", "--checkpoint", "out/model", "--json", "a fine film")
    assert set(json.loads(said)["label"]) == {"*"}
