"""A folder of runs is its own, and goes on with the rows that it began with, or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from tokendrop.cli import main
from tokendrop.compare.grid.continuing import begin_or_continue
from tokendrop.compare.grid.method import Method
from tokendrop.compare.grid.settings import Cell, Comparison, grid
from tokendrop.compare.results.floor import read_floors
from tokendrop.configs import config_folder
from tokendrop.errors import UserError
from tokendrop.training import recipes

SETTINGS = """
backbone: minilm-l6
random_init: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32}
tasks: [FOLDER/reviews.yaml]
fine_tune: {epochs: 1, learning_rate: 1.0e-2}
clock: {rows: 8, single_rows: 1, rounds: 1}
loggers: []
samples: 0
methods: {dense: {reducer: Dense}}
"""
TASK = """
data: {dataset: null, train: FOLDER/train.csv, dev: FOLDER/dev.csv, test: FOLDER/test.csv}
model: {metric: accuracy}
"""


def write(file: Path, rows: int, word: str = "film") -> None:
    texts = [f"a {('good', 'bad')[n % 2]} {word} of {n} hours" for n in range(rows)]
    pd.DataFrame({"text": texts, "label": [n % 2 for n in range(rows)]}).to_csv(file, index=False)


def comparison(folder: Path, train: int) -> list[str]:
    """The command of a comparison on so many rows, whose files are written there."""
    for split, count in (("train", train), ("dev", 16), ("test", 16)):
        write(folder / f"{split}.csv", count)
    for file, text in (("compare.yaml", SETTINGS), ("reviews.yaml", TASK)):
        (folder / file).write_text(text.replace("FOLDER", str(folder)))
    return ["compare", "--config", str(folder / "compare.yaml"), "--out", str(folder / "out")]


def test_a_training_that_diverges_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*comparison(tmp_path, 80), "--fine_tune.learning_rate", "1e30"]) == 2
    *_, said = capsys.readouterr().err.splitlines()
    assert said.startswith(
        "tokendrop: error: dense-default-reviews-seed1: the loss is not a number"
    )


def test_a_start_that_diverges_is_trained_once_for_all_that_begin_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Sequence[object]] = []
    begin = recipes.train

    def train(*given: object) -> object:
        trained.append(given)
        return begin(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(recipes, "train", train)
    command = [*comparison(tmp_path, 80), "--methods.random", "{reducer: baselines.RandomDrop}"]
    assert main([*command, "--fine_tune.learning_rate", "1e30"]) == 2
    *_, said = capsys.readouterr().err.splitlines()
    names = "dense-default-reviews-seed1, random-default-reviews-seed1"
    assert said.startswith(f"tokendrop: error: {names}: the loss is not a number")
    assert "tables" not in said
    assert len(trained) == 1


@pytest.mark.parametrize(("name", "rows"), [("train.csv", 20), ("test.csv", 16)])
def test_rows_that_changed_in_their_file_are_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, rows: int
) -> None:
    words, out = comparison(tmp_path, 40), tmp_path / "out"
    assert main(words) == 0
    before = (tmp_path / name).read_bytes()
    write(tmp_path / name, rows, "play")
    assert main([*words, "--seeds", "[1, 2]"]) == 2
    said = capsys.readouterr().err
    assert "dense--default--reviews--seed1.json is of other rows than reviews has now" in said
    assert len(list(out.glob("runs/*.json"))) == 1
    (tmp_path / name).write_bytes(before)
    assert main([*words, "--seeds", "[1, 2]"]) == 0
    assert len(list(out.glob("runs/*.json"))) == 2


def test_tables_are_not_made_of_runs_on_rows_that_changed_since(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, file = comparison(tmp_path, 40), tmp_path / "test.csv"
    assert main(words) == 0
    before = file.read_text()
    # where no run is missing, too
    file.write_text(before.replace("bad", "long"))
    assert main(words) == 2
    assert "seed1.json is of other rows than reviews has now" in capsys.readouterr().err
    # the same rows in another file are no others, and without files the tables can be made
    file.write_text(before + "\n")
    assert main(words) == 0
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.csv").unlink()
    assert main(words) == 0


def test_a_floor_of_rows_that_changed_since_is_made_anew(tmp_path: Path) -> None:
    words, floor = comparison(tmp_path, 40), tmp_path / "out" / "floor" / "reviews.json"
    assert main([*words, "--floor", "true"]) == 0
    (before,) = read_floors(tmp_path / "out")
    file = tmp_path / "test.csv"
    file.write_text(file.read_text().replace(",0", ",x").replace(",1", ",0").replace(",x", ",1"))
    # as the message about such rows says, by a comparison that has no floor any more
    (record,) = tmp_path.glob("out/runs/*.json")
    record.unlink()
    assert main(words) == 0
    (after,) = read_floors(tmp_path / "out")
    assert (before.value, after.value) == (1.0, 0.0)
    written = floor.read_bytes()
    assert main(words) == 0
    assert floor.read_bytes() == written


@pytest.mark.parametrize("command", ["compare", "rationale"])
def test_a_folder_of_something_else_is_left_as_it_was(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.csv").write_text("mine")
    smoke = str(config_folder() / "compare" / "smoke.yaml")
    assert main([command, "--config", smoke, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path} has results.csv of something else and no comparison" in said
    assert "name another folder with --out" in said
    assert [(x.name, x.read_text()) for x in tmp_path.iterdir()] == [("results.csv", "mine")]


def test_the_seeds_of_a_point_share_its_settings(tmp_path: Path) -> None:
    def comparison(seeds: Sequence[int], layers: int = 2) -> Comparison:
        method = Method("baselines.FewerLayers", {"layers": layers})
        return Comparison(["rotten_tomatoes"], {"some_layers": method}, seeds=list(seeds))

    def cells(of: Comparison) -> dict[Path, Cell]:
        # as those of a method that was tuned: it is no other choice for being run with fewer seeds
        return {
            tmp_path / f"{cell.run.file_name}.json": replace(cell, tuning={"trial": 3})
            for cell in grid(of)
        }

    both = comparison((1, 2))
    for path, cell in cells(both).items():
        settings = {"provenance": {"config": asdict(both) | asdict(cell)}}
        path.write_text(json.dumps(settings, default=vars))
    for seeds in ((1, 2), (1,), (2, 3), (3,)):
        begin_or_continue(same := comparison(seeds), tmp_path, cells(same))
    copied = tmp_path / "copy of some_layers.json"
    copied.write_bytes(next(iter(cells(comparison((1,))))).read_bytes())
    with pytest.raises(UserError, match=f"{copied} holds the run of .*seed1.json: delete it or"):
        begin_or_continue(both, tmp_path, cells(both))
    copied.unlink()
    other = comparison((3,), layers=1)
    said = r"seed1\.json was made with reducer.init_args\.layers 2, and now it is 1: set it back"
    with pytest.raises(UserError, match=said):
        begin_or_continue(other, tmp_path, cells(other))
