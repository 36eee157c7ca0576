"""The grid of a comparison, from its configuration."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from tokendrop.compare.grid.method import Method, SearchedPoints
from tokendrop.compare.grid.settings import Comparison, grid
from tokendrop.configs import set_for
from tokendrop.errors import UserError


def parsed(text: str) -> Comparison:
    """A comparison as the command line reads it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(Comparison)
    made = parser.instantiate(parser.parse_args(["--config", text]))
    return Comparison(**{field.name: made[field.name] for field in fields(Comparison)})


def test_a_chain_of_reducers_from_outside_is_plain_data() -> None:
    """A class_path that can be imported is wrapped by the parser, and could not be recorded."""
    comparison = parsed(
        """
        tasks: [rotten_tomatoes]
        methods:
          both:
            reducer: Chain
            arguments:
              parts:
                - class_path: baselines.FirstK
                  init_args: {ratio: 0.5}
                - class_path: baselines.EntropyExit
        """
    )
    (cell,) = grid(comparison)
    first, exits = json.loads(json.dumps(asdict(cell)))["reducer"]["init_args"]["parts"]
    assert first["class_path"] == "baselines.FirstK"
    assert first["init_args"]["ratio"] == 0.5
    assert exits["class_path"] == "baselines.EntropyExit"


def test_files_may_be_paths_and_are_recorded_by_their_names() -> None:
    folder = Path("data") / "mrpc"
    comparison = Comparison(
        tasks=["mrpc"],
        methods={"dense": Method("Dense")},
        backbone=Path("my-model"),  # type: ignore[arg-type]
        data={"cache": Path("cache")},
        task_data={"mrpc": {"dir": folder}},
    )
    assert comparison.backbone == "my-model"
    (cell,) = grid(comparison)
    settings = json.loads(json.dumps(asdict(cell)))["data"]
    assert (settings["dir"], settings["cache"]) == (str(folder), "cache")


def test_arguments_for_a_single_task_take_the_place_of_those_for_all() -> None:
    comparison = parsed(
        """
        tasks: [rotten_tomatoes, imdb]
        methods:
          first:
            reducer: baselines.Truncation
            arguments: {tokens: 16, epochs: 0}
            task_arguments: {imdb: {tokens: 128}, mrpc: {tokens: 32}}
        """
    )
    arguments = [cell.reducer["init_args"] for cell in grid(comparison)]
    assert arguments == [{"tokens": 16, "epochs": 0}, {"tokens": 128, "epochs": 0}]


def test_data_of_single_tasks_may_be_set_for_tasks_that_are_not_compared() -> None:
    """A file for several tasks serves one of them: --tasks '[rotten_tomatoes]'."""
    comparison = parsed(
        """
        tasks: [rotten_tomatoes]
        data: {train_rows: 100}
        task_data: {rotten_tomatoes: {train_rows: 50}, mrpc: {dir: glue/MRPC}}
        methods: {dense: {reducer: Dense}}
        """
    )
    (cell,) = grid(comparison)
    assert cell.data["train_rows"] == 50
    assert cell.data.get("dir") is None


@pytest.mark.parametrize("name", ["reviews", "FOLDER/reviews.yaml"])
def test_a_task_of_ones_own_is_set_by_its_name_or_by_its_file(tmp_path: Path, name: str) -> None:
    file, name = tmp_path / "reviews.yaml", name.replace("FOLDER", str(tmp_path))
    file.write_text("data: {dataset: null, train: reviews.csv}")
    method = Method("baselines.Truncation", task_arguments={name: {"tokens": 9}})
    comparison = Comparison([str(file)], {"cut": method}, task_data={name: {"train_rows": 7}})
    (cell,) = grid(comparison)
    assert cell.data["train_rows"] == 7
    assert cell.reducer["init_args"]["tokens"] == 9


@pytest.mark.parametrize(
    "wrong",
    [
        {"methods": {"dense": Method("Dense", task_arguments={"imbd": {"epochs": 1}})}},
        {"task_data": {"imbd": {"train_rows": 10}}},
    ],
)
def test_settings_of_a_task_that_does_not_exist_are_refused(wrong: dict[str, Any]) -> None:
    comparison = Comparison(**{"tasks": ["imdb"], "methods": {"dense": Method("Dense")}} | wrong)
    with pytest.raises(UserError, match="imbd"):
        list(grid(comparison))


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        (["imdb", "imdb"], "imdb.yaml are both called 'imdb'"),
        (["imdb", "FOLDER/imdb.yaml"], "FOLDER/imdb.yaml are both called 'imdb'"),
        ([], "a comparison of no tasks"),
    ],
)
def test_tasks_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, tasks: list[str], says: str
) -> None:
    (tmp_path / "imdb.yaml").write_text("data: {dataset: imdb}")
    comparison = Comparison(
        [task.replace("FOLDER", str(tmp_path)) for task in tasks], {"dense": Method("Dense")}
    )
    with pytest.raises(UserError, match=says.replace("FOLDER", str(tmp_path))):
        list(grid(comparison))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("power", "half-x"), ("power-half", "x")),
        (("power", "half--x"), ("power--half", "x")),
    ],
)
def test_runs_whose_files_would_have_one_name_are_refused(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    def made(*named: tuple[str, str]) -> Comparison:
        methods = {name: Method("Dense", operating_points={point: {}}) for name, point in named}
        return Comparison(["rotten_tomatoes"], methods)

    assert len(list(grid(made(one, (other[0], "y"))))) == 2
    with pytest.raises(UserError, match=f"method '{one[0]}' at '{one[1]}' .* the same files"):
        list(grid(made(one, other)))


def test_a_method_without_any_run_is_refused() -> None:
    with pytest.raises(UserError, match="Dense: operating_points is empty"):
        Method("Dense", operating_points={})
    assert Method("LengthAdaptive", operating_points={}, search=SearchedPoints({"half": 0.5}))


@pytest.mark.parametrize("name", ["films.v2", "films"])
def test_settings_of_a_task_are_found_whatever_dots_its_name_has(name: str) -> None:
    settings = {"films.v2": {"max_length": 7}, "a/films.yaml": {"max_length": 8}}
    assert set_for(name, settings) == {"max_length": 7 if name == "films.v2" else 8}


def test_a_point_and_a_budget_of_the_search_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="'half' names an operating point and a budget of the"):
        Method(
            "LengthAdaptive",
            operating_points={"full": {}, "half": {"layer_drop": 0.0}},
            search=SearchedPoints({"half": 0.5}),
        )
