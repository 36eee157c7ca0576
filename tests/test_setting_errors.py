"""Settings that are mistyped are named with their place, their value and what could stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_cli import complaint
from tokendrop.errors import UserError
from tokendrop.reducers import from_spec

COMPARISON = """
backbone: minilm-l6
tasks: [rotten_tomatoes]
methods:
  dense: {reducer: Dense}
"""


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("  my.exit: {reduser: DactBert}",
         "unknown setting of methods.my.exit 'reduser': did you mean 'reducer'? choose from arg"),
        ("  exit: {reducer: DactBert, argument: {tau: 1}}",
         "unknown setting of methods.exit 'argument': did you mean 'arguments'?"),
        ("  exit: {reducer: DactBert, search: {settings: {rows: many}}}",
         "methods.exit.search.settings.rows many must be a whole number"),
        ("  exit: {reducer: DactBert, search: {setings: {rows: 3}}}",
         "unknown setting of methods.exit.search 'setings': did you mean 'settings'?"),
        ("  exit: {reducer: DactBert, space: {tau: {low: 0.1, hig: 1}}}",
         "unknown setting of methods.exit.space 'hig': did you mean 'high'?"),
        ("  exit: {reducer: DactBert, operating_points: {fast: 0.3}}",
         "methods.exit.operating_points: 0.3 are no arguments: give them by their names"),
        ("  exit: DactBert", "methods.exit DactBert must be settings by their names"),
        ("  exit: {arguments: {tau: 1}}", "methods.exit: the following arguments are required"),
        ("fine_tune: {epoch: 3}", "unknown setting of fine_tune 'epoch': did you mean 'epochs'?"),
        ("fine_tune: {epochs: two}", "fine_tune.epochs two must be a whole number"),
        ("fine_tune: 3", "fine_tune 3 must be settings by their names, or null"),
        ("tune: {cost: two}", "tune.cost two must be a number, or null"),
        ("patience: long", "patience long must be a whole number, or null"),
        ("seeds: 3", "seeds 3 must be a list, as [3]"),
        ("loggers: [cvs]", "loggers cvs must be csv or wandb or wandb_models, or settings by their names"),
    ],
)  # fmt: skip
def test_of_a_comparison(
    lines: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(f"{COMPARISON}{lines}\n")
    words = ["--config", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "out")]
    assert said in complaint(capsys, "compare", *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.fine_tune.epochs", "x"], "model.fine_tune.epochs x must be a whole"),
        (["--model.reducer", "PowerBrt"], "unknown reducer 'PowerBrt': did you mean 'PowerBert'?"),
        (["--model.reducer", "PowerBert", "--model.reducer.serch_epochs", "3"],
         "unknown argument of PowerBert 'serch_epochs': did you mean 'search_epochs'?"),
        (["--data.train_rows", "many"],
         "data.train_rows many must be a whole number, or null"),
        (["--trainer.callbacks", "Mine"],
         "trainer.callbacks Mine must be a list, as [Mine], or a class by its dotted path, or"),
        (["--trainer.logger", "{class_path: CSVLogger, init_args: {save: here}}"],
         "unknown argument of CSVLogger 'save': did you mean 'save_dir'?"),
    ],
)  # fmt: skip
def test_of_a_training(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in complaint(capsys, "fit", *words)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"parts": [{"class_path": "DactBert", "init_args": {"tao": 1}}]},
         "unknown argument of DactBert 'tao': did you mean 'tau'?"),
        ({"parts": [{"class_path": "DactBrt"}]}, "unknown reducer 'DactBrt': did you mean 'DactB"),
        ({"parts": 3}, "Chain.parts 3 must be a list, as [3]"),
        ({"parts": [{"class_path": "torch.nn.Linear"}]}, "torch.nn.Linear"),
    ],
)  # fmt: skip
def test_of_a_chain(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as refused:
        from_spec({"class_path": "Chain", "init_args": arguments})
    assert said in str(refused.value)
