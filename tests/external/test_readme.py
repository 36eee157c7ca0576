"""The code of the README runs as it stands there."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.external.documents import README, ROOT, block, smoke_comparison
from tokendrop.cli.lightning_cli import parse

METHODS = """
methods:
  dense: {reducer: Dense}
  largest_norm: {reducer: my_module.LargestNorm}
"""


def test_its_reducer_drops_something_in_the_smoke_comparison(
    put_on_path: Callable[..., Path],
) -> None:
    folder = put_on_path("my_module", block(README, "python", "class LargestNorm"))
    (folder / "mine.yaml").write_text(METHODS)
    results = smoke_comparison(folder / "mine.yaml", folder / "out").droplevel("operating_point")
    assert results.flops_speedup_unpadded["largest_norm"] > 1.1
    assert results.flops_speedup_unpadded["dense"] == 1
    assert results.kept_tokens_mean["largest_norm"] < 0.9


def test_its_first_command_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _, command = block(README, "", "tokendrop fit").split("tokendrop fit")
    settings = parse(shlex.split(command.replace("\\\n", " "))).config
    assert settings.data.train_rows == 1000
    assert settings.model.reducer.class_path.endswith("PowerBert")
    assert settings.model.reducer.init_args.soft_learning_rate == 0.03


def test_its_first_lines_ask_a_model(
    put_on_path: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = put_on_path("my_module", "")
    (folder / "mine.yaml").write_text("methods: {dense: {reducer: Dense}}")
    smoke_comparison(folder / "mine.yaml", folder / "out")
    (model,) = (folder / "out" / "stages").glob("*/model")
    shutil.copytree(model, folder / "runs" / "power" / "model")
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(block(README, "python", "texts = ["), {})
    shown = capsys.readouterr().out
    # what stands below the lines has the same texts, and another model's answers
    printed = block(README, "text", "[CLS]")
    assert len(shown.splitlines()) == len(printed.splitlines())
