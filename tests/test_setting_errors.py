"""What a user gets wrong in settings is said in a line: the value, its place and the cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_cli import complaint
from tokendrop.cli.lightning_cli import parse
from tokendrop.configs import config_folder
from tokendrop.errors import UserError
from tokendrop.reducers import from_spec

SMOKE = ["compare", "--config", str(config_folder() / "compare" / "smoke.yaml")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "1"], "seeds 1 must be a list, as [1]"),
        (["--tasks", "films.yaml"], "tasks films.yaml must be a list, as [films.yaml]"),
        (["--floor", "maybe"], "floor maybe must be true or false"),
        (["--fine_tune.epochs", "x"], "fine_tune.epochs x must be a whole number"),
        (["--methods", "[dense]"], "methods ['dense'] must be settings by their names"),
        (["--seed", "[1]"], "unknown option --seed: did you mean --seeds?"),
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
def test_of_a_comparison(
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
        (["--data.files", "{trian: a}"], "unknown setting of data.files 'trian': did you mean"),
        (["--model.reducer.mass_weight", "3"], "Dense has no arguments, so no 'mass_weight'"),
        (["--model.lr", "3"], "unknown option --model.lr: "),
    ],
)
def test_of_a_training(words: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(words)
    assert said in str(caught.value)
    assert "did you mean --model?" not in str(caught.value)


def test_of_a_method() -> None:
    with pytest.raises(UserError, match="argument of PowerBert 'mass_wight': did you mean 'mass_w"):
        from_spec({"class_path": "PowerBert", "init_args": {"mass_wight": 1}})
    with pytest.raises(UserError, match=r"^PowerBert\.mass_weight much must be a number$"):
        from_spec({"class_path": "PowerBert", "init_args": {"mass_weight": "much"}})
    with pytest.raises(UserError, match=r"unknown DactBert\.pooling 'mena': did you mean 'mean'"):
        from_spec({"class_path": "DactBert", "init_args": {"pooling": "mena"}})
    inside = {"class_path": "PowerBert", "init_args": {"mass_wight": 1}}
    with pytest.raises(UserError, match="argument of PowerBert 'mass_wight'"):
        from_spec({"class_path": "Chain", "init_args": {"parts": [inside]}})
    with pytest.raises(UserError, match="unknown reducer 'PowerBrt': did you mean 'PowerBert'"):
        from_spec({"class_path": "Chain", "init_args": {"parts": [{"class_path": "PowerBrt"}]}})


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
