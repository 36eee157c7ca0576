"""Every file under configs/ is read by the command it belongs to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from tests.contract.test_contract import _all_reducers
from tokendrop.cli.lightning_cli import parse
from tokendrop.compare.grid.settings import Comparison, grid
from tokendrop.configs import config_folder, find_config, read_config
from tokendrop.errors import UserError
from tokendrop.reducers import from_spec

FOLDER = config_folder()


def files(kind: str) -> list[Path]:
    return sorted((FOLDER / kind).glob("*.yaml"))


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("kind", ["task", "backbone", "reducer"])
def test_layers_of_fit(kind: str) -> None:
    for path in files(kind):
        layers = [FOLDER / "base.yaml", FOLDER / "task" / "rotten_tomatoes.yaml", path]
        words = [word for layer in layers for word in ("--config", str(layer))]
        settings = parse(words).config
        given = read_config(path)
        for section, values in given.items():
            for name, value in values.items():
                if not isinstance(value, dict):
                    assert settings[section][name] == value, f"{path}: {section}.{name}"


@pytest.mark.parametrize("path", [*files("compare"), *files("ablation")], ids=named)
def test_comparisons(path: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Comparison)
    made = parser.instantiate(parser.parse_object(yaml.safe_load(path.read_text())))
    comparison = Comparison(**{f.name: made[f.name] for f in dataclasses.fields(Comparison)})
    assert list(grid(comparison))


def test_every_reducer_has_a_configuration() -> None:
    classes = set()
    for path in files("reducer"):
        reducer = read_config(path)["model"]["reducer"]
        classes.add(type(from_spec(reducer)).__name__)
    assert classes == set(_all_reducers())


@pytest.mark.parametrize("text", ["data: &a {files: *a}", "tasks: &a [x, [*a]]"])
def test_settings_that_are_a_part_of_themselves(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"mine.yaml: \*a stands inside of &a"):
        read_config(file)
    file.write_text("data: &a {dir: x}\ntask_data: {sst2: *a, mrpc: *a}")
    assert read_config(file)["task_data"] == {"sst2": {"dir": "x"}, "mrpc": {"dir": "x"}}


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'rotten_tomatoes'"):
        find_config("task", "rotten_tomatos")
