"""Settings that are mistyped are named with their place, their value and what could stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.test_cli import complaint
from tokendrop.cli.lightning_cli import parse
from tokendrop.configs import config_folder
from tokendrop.errors import UserError
from tokendrop.reducers import from_spec

SMOKE = ["compare", "--config", str(config_folder() / "compare" / "smoke.yaml")]

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
         "methods.exit.space: unknown setting 'hig': did you mean 'high'?"),
        ("  exit: {reducer: DactBert, operating_points: {fast: 0.3}}",
         "methods.exit.operating_points: 0.3 are no arguments: give them by their names"),
        ("  exit: {reducer: late.py}", "late.py names a file: name the class in it, as late.MyR"),
        ("  exit: DactBert", "methods.exit DactBert must be settings by their names"),
        ("  exit: {arguments: {tau: 1}}", "methods.exit: the following arguments are required"),
        ("fine_tune: {epoch: 3}", "unknown setting of fine_tune 'epoch': did you mean 'epochs'?"),
        ("fine_tune: {epochs: two}", "fine_tune.epochs two must be a whole number"),
        ("fine_tune: 3", "fine_tune 3 must be settings by their names, or null"),
        ("tune: {cost: two}", "tune.cost two must be a number, or null"),
        ("patience: long", "patience long must be a whole number, or null"),
        ("seeds: 3", "seeds 3 must be a list, as [3]"),
        ("loggers: [cvs]", "loggers cvs must be csv or wandb or wandb_models, or settings by "),
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
        (["--model.reducer", "drop/late.py"],
         "drop/late.py names a file: name the class in it, as late.MyReducer, with the file's"),
        (["--model.reducer", __file__], "as test_setting_errors.MyReducer, with the file's folder"),
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
        # as a method of a comparison is given
        ({"parts": [{"reducer": "DactBert", "arguments": {"tau": 0.5}}]},
         "a reducer in reducer.parts is not written as one: give it as {class_path: AdapLeR, init"),
        ({"parts": [{"class_path": "DactBert", "tau": 0.5}]}, "with its arguments under init_args"),
    ],
)  # fmt: skip
def test_of_a_chain(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as refused:
        from_spec({"class_path": "Chain", "init_args": arguments})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "1"], "seeds 1 must be a list, as [1]"),
        (["--tasks", "films.yaml"], "tasks films.yaml must be a list, as [films.yaml]"),
        (["--floor", "maybe"], "floor maybe must be true or false"),
        (["--fine_tune.epochs", "x"], "fine_tune.epochs x must be a whole number"),
        (["--methods", "[dense]"], "methods ['dense'] must be settings by their names"),
        (["--seed", "[1]"], "unknown option --seed: did you mean --seeds?"),
        (["--model.fine_tune.epochs", "3"], "did you mean --fine_tune.epochs?"),
        (["--clock", "fast"], "clock fast must be settings by their names, or a file of them"),
        (["--clock", "{rows: x}"], "error: clock.rows x must be a whole number"),
        (["--fine_tune", "recipe.yaml"], "fine_tune recipe.yaml: there is no such file"),
        (["--clock.round", "3"], "did you mean --clock.rounds? 'tokendrop compare --help' lists"),
        (["--data.max_len", "3"], "unknown setting of data 'max_len': did you mean 'max_length'?"),
        (["--tune", "{sped: 1}"], "unknown setting of tune 'sped': did you mean 'seed'?"),
        (["--fine_tune.lr", "3"], "unknown setting of fine_tune 'lr': choose from betas"),
        (["--methods.dense.reducr", "Dense"], "setting of methods 'reducr': did you mean 'reducer"),
        (["films.yaml"], "is given as --config films.yaml"),
        (["mrpc"], "mrpc has no option in front of it: 'tokendrop compare --help' lists them"),
        (["--task_data.rotten_tomatos", "{dir: a}"], "did you mean 'rotten_tomatoes'?"),
    ],
)
def test_options_of_a_comparison(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in complaint(capsys, *SMOKE, *words, "--out", str(tmp_path / "out"))


def test_a_task_of_ones_own_is_among_those_that_settings_may_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = tmp_path / "filmography.yaml"
    film.write_text("data: {train: films.csv}\n")
    words = ["--tasks", f"[{film}]", "--task_data.filmograph", "{dir: a}"]
    assert "did you mean 'filmography'?" in complaint(capsys, *SMOKE, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.max_length", "abc"], "data.max_length abc must be a whole number"),
        (["--data", "films"], "data films must be settings by their names, or a file of them"),
        (["--data", "{max_length: [3]}"], "data.max_length [3] must be a whole number"),
        (["--trainer", "{max_epochs: x}"], "trainer.max_epochs x must be a whole number, or null"),
        (
            ["--trainer.plugins", "fast"],
            "plugins fast must be a class by its dotted path, or a list, as [fast], or null",
        ),
        (["--trainer", "{devices: ["], "trainer {devices: [: while parsing a flow node"),
        (["--data.files", "{trian: a}"], "unknown setting of data.files 'trian': did you mean"),
        (["--model.reducer.mass_weight", "3"], "Dense has no arguments, so no 'mass_weight'"),
        (["--model.lr", "3"], "unknown option --model.lr: "),
        (["--fine_tune.epochs", "3"], "did you mean --model.fine_tune.epochs?"),
        (["--max_length=3"], "did you mean --data.max_length?"),
        (["--seed", "3"], "did you mean --seed_everything?"),
    ],
)
def test_options_of_a_training(words: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(words)
    assert said in str(caught.value)
    assert "did you mean --model?" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"mass_wight": 1}, "unknown argument of PowerBert 'mass_wight': did you mean 'mass_w"),
        ({"mass_weight": "much"}, "PowerBert.mass_weight much must be a number"),
        ({"retention_basis": "rows"}, "unknown PowerBert.retention_basis 'rows': did you mean 'r"),
    ],
)
def test_of_a_method(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        from_spec({"class_path": "PowerBert", "init_args": arguments})


def test_a_file_for_another_command_is_named_with_the_way_to_give_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, typo = tmp_path / "films.yaml", tmp_path / "typo.yaml"
    task.write_text("data: {train: films.csv}\nmodel: {metric: f1}\n")
    typo.write_text("fine_tun: {epochs: 1}\n")
    said = complaint(capsys, "compare", "--config", str(task))
    assert f"{task} cannot be settings of 'tokendrop compare'" in said
    assert f"--tasks '[{task}]'" in said
    assert "give it to 'tokendrop compare'" in complaint(capsys, "fit", *SMOKE[1:])
    sweep = str(config_folder() / "sweep" / "adapler.yaml")
    assert f"as --sweep {sweep}" in complaint(capsys, "compare", "--config", sweep)
    said = complaint(capsys, "compare", "--config", str(typo))
    assert f"unknown setting in {typo} 'fine_tun': did you mean 'fine_tune'?" in said
