"""What a class of one's own made is found again after its code has changed, and that is said."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from baselines import RandomDrop
from tests.compare.grid.test_continuing import comparison
from tokendrop.cli import main
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.own_code import code_of
from tokendrop.training.module import TokenDropModule

SOURCE = """
from tokendrop.reducers.base import Reducer, Stage

class Base(Reducer):
    def losses(self, encoded):
        return {"small": 0.1 * encoded.logits.square().mean()}

class Mine(Base):
    def stages(self):
        return [Stage("mine", 1, 1e-3)]
"""


def put_anew(put_on_path: Callable[..., Path], source: str) -> type[Reducer]:
    """The class as a new process would find it."""
    sys.modules.pop("theirs", None)
    importlib.invalidate_caches()
    put_on_path("theirs", source)
    kind: type[Reducer] = importlib.import_module("theirs").Mine
    return kind


@pytest.fixture(autouse=True)
def _no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    # files that are written within one second would be taken for the same
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def test_the_code_of_a_class_is_that_of_all_it_is_made_of(
    put_on_path: Callable[..., Path],
) -> None:
    before = code_of(put_anew(put_on_path, SOURCE)())
    assert before.keys() == {"theirs.Mine", "theirs.Base"}
    same = SOURCE.replace("class Mine", "# a comment\n\n\nclass Mine").replace("0.1 *", "0.1  *")
    assert code_of(Chain([Dense(), put_anew(put_on_path, same)()])) == before
    other = code_of(put_anew(put_on_path, SOURCE.replace("0.1", "0.2"))())
    assert {path for path in other if other[path] != before[path]} == {"theirs.Base"}
    assert not code_of(Chain([Dense(), RandomDrop()]))


def test_what_was_made_with_other_code_is_told(
    put_on_path: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    command = [*comparison(tmp_path, 80), "--methods.mine", "{reducer: theirs.Mine}"]
    put_anew(put_on_path, SOURCE)
    assert main(command) == 0
    assert "changed" not in caplog.text

    put_anew(put_on_path, SOURCE.replace("0.1", "0.2"))
    assert main(command) == 0
    assert (
        caplog.text.count("was made before the code of theirs.Base changed, and stays: delete") == 1
    )

    (record,) = (tmp_path / "out/runs").glob("mine--*.json")
    record.unlink()
    caplog.clear()
    assert main(command) == 0
    assert (
        caplog.text.count("was trained before the code of theirs.Base changed, and is taken as")
        == 1
    )
    assert "count recipe of the class up (it is 1)" in caplog.text

    record.unlink()
    caplog.clear()
    counted = SOURCE.replace("0.1", "0.2").replace("(Base):", "(Base):\n    recipe = 2\n")
    put_anew(put_on_path, counted)
    assert main(command) == 0
    assert "changed" not in caplog.text
    assert len([*(tmp_path / "out/stages").glob("mine-*")]) == 2


@pytest.mark.parametrize("changed", [True, False])
def test_a_training_that_was_cut_off_goes_on_with_the_code_that_it_began_with_only(
    changed: bool,
    put_on_path: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *words, out = comparison(tmp_path, 48)
    words = [*words[:-1], "--methods", "{mine: {reducer: theirs.Mine}}", "--out"]
    source = SOURCE.replace('"mine", 1', '"mine", 3')
    begin = TokenDropModule.on_train_batch_start

    def stop(self: TokenDropModule, batch: object, index: int) -> None:
        if self.stage is not None and (self.stage.name, self.current_epoch) == ("mine", 2):
            raise KeyboardInterrupt
        begin(self, batch, index)  # type: ignore[arg-type]

    put_anew(put_on_path, source)
    with monkeypatch.context() as patched:
        patched.setattr(TokenDropModule, "on_train_batch_start", stop)
        assert main([*words, out]) == 130
    if changed:
        put_anew(put_on_path, source := source.replace("0.1", "3.0"))
    assert main([*words, out]) == 0
    said = "last.ckpt was trained before the code of theirs.Base changed: its stage is trained from"
    assert (said in caplog.text) == changed
    assert main([*words, str(tmp_path / "whole")]) == 0
    curves = [
        json.loads(next(tmp_path.glob(f"{place}/stages/mine-*/done.json")).read_text())["curve"]
        for place in ("out", "whole")
    ]
    assert curves[0] == curves[1]
