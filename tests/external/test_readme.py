"""The code of the README runs as it stands there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.external.documents import README, ROOT, block, smoke_comparison
from tests.models.test_model import model_of
from tokendrop.cli.lightning_cli import parse
from tokendrop.reducers.power_bert import PowerBert

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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model_of(PowerBert(configuration=[6, 4, 2])).save_pretrained(tmp_path / "runs/power/model")
    monkeypatch.chdir(tmp_path)
    exec(block(README, "python", "texts = ["), {})
    # another model's answers and tokens, in the same form
    shown, printed = capsys.readouterr().out, block(README, "text", "[CLS]")
    assert form(shown) == form(printed)


def form(answers: str) -> list[str]:
    """What each line says, whatever the model: an answer with its probability, or tokens."""
    lines = [re.sub(r"\w+ \d+%$", "answer", line) for line in answers.splitlines()]
    return [re.sub(r"^\S+:\d( \S+:\d)+$", "tokens", line) for line in lines]
