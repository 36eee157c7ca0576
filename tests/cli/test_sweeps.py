"""Sweep files of W&B run without an account, as the same trainings that an agent would start."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.compare.grid.test_ablations import outcome
from tokendrop.cli import main
from tokendrop.cli.sweep import read_sweep
from tokendrop.configs import config_folder, read_config
from tokendrop.errors import UserError

FOLDER = config_folder() / "sweep"
FILES = sorted(FOLDER.glob("*.yaml"))
SMALL = [
    *("--random_init", "{num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, "
      "intermediate_size: 32}"),
    *("--data", "{train_rows: 64, dev_rows: 32, test_rows: 32}", "--fine_tune.epochs", "1"),
    *("--clock", "{rows: 32, single_rows: 1, rounds: 1}", "--loggers", "[]", "--samples", "0"),
]  # fmt: skip


def changed(folder: Path, name: str, **settings: Any) -> Path:
    """A sweep's file with other settings."""
    sweep = {k: v for k, v in (read_config(FOLDER / name) | settings).items() if v is not None}
    (folder / name).write_text(yaml.safe_dump(sweep))
    return folder / name


def parameters(**given: Any) -> dict[str, Any]:
    return {f"model.reducer.init_args.{name}": value for name, value in given.items()}


def shares(values: Any, probabilities: Any) -> dict[str, Any]:
    return {"values": values, "probabilities": probabilities}


def points_of(path: Path) -> list[dict[str, Any]]:
    return list(read_sweep(path)["methods"][path.stem]["operating_points"].values())


def test_a_grid_ends_in_an_ordinary_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the paths in the file are found from anywhere
    whole = read_sweep(FOLDER / "power_bert.yaml")["methods"]["power_bert"]["operating_points"]
    assert len(whole) == 6
    assert "mass_weight=0.002,soft_learning_rate=0.03" in whole
    given = parameters(mass_weight={"values": [0.002]}, soft_learning_rate={"values": [0.03, 0.2]})
    path = changed(tmp_path, "power_bert.yaml", parameters=given)
    words = ["--sweep", str(path), *SMALL, "--out", str(tmp_path / "out")]
    assert main(["compare", *words]) == 0
    results = pd.read_csv(tmp_path / "out" / "results.csv")
    assert results.method.tolist() == ["dense"] + ["power_bert"] * 2
    assert "soft_learning_rate=0.03" in results.operating_point[1]
    assert (tmp_path / "out" / "report.html").is_file()
    assert len(list((tmp_path / "out" / "stages").glob("search-*"))) == 2


def test_a_grid_has_the_combinations_that_were_asked_for(tmp_path: Path) -> None:
    near = [0.00123456701, 0.00123456702, 0.00123456702]
    given = parameters(mass_weight={"values": near}, search_epochs={"values": [1, 2]})
    every = points_of(changed(tmp_path, "power_bert.yaml", parameters=given))
    assert every == [
        {"mass_weight": weight, "search_epochs": epochs} for weight in near[:2] for epochs in (1, 2)
    ]
    few = changed(tmp_path, "power_bert.yaml", parameters=given, run_cap=3)
    assert points_of(few) == every[:3]


def test_draws_run(tmp_path: Path) -> None:
    settings = tmp_path / "comparison.yaml"
    path = changed(tmp_path, "adapler.yaml", run_cap=2)
    settings.write_text(yaml.safe_dump(read_sweep(path)))
    assert len(outcome(settings, tmp_path / "out")) == 3


def test_draws_stay_in_their_ranges_and_repeat() -> None:
    path = FOLDER / "adapler.yaml"
    points = points_of(path)
    assert points == points_of(path)
    assert len(points) == read_config(path)["run_cap"]
    for name, given in read_config(path)["parameters"].items():
        values = [point[name.rsplit(".", 1)[-1]] for point in points]
        assert given["min"] <= min(values) < max(values) <= given["max"]


def test_other_seeds_draw_other_points(tmp_path: Path) -> None:
    command = read_config(FOLDER / "adapler.yaml")["command"]
    other = changed(tmp_path, "adapler.yaml", command=[*command, "--seed_everything=2"])
    assert points_of(other) != points_of(FOLDER / "adapler.yaml")


def test_files_are_found_in_whichever_form_the_command_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = read_config(FOLDER / "adapler.yaml")["command"]
    files = [word.removeprefix("--config=") for word in command if word.startswith("--config=")]
    others = [word for word in command if not word.startswith("--config=")]
    forms = [
        [word for file in files for word in ("--config", file)],
        [word for file in files for word in ("-c", file)],
        [f"-c{file}" for file in files],
    ]
    wanted = read_sweep(FOLDER / "adapler.yaml")
    for form in forms:
        words = [*others[:2], *form, *others[2:]]
        assert read_sweep(changed(tmp_path, "adapler.yaml", command=words)) == wanted


def of_task(folder: Path, task: str, *others: str) -> Path:
    """A sweep whose command names another task, and has other options behind it."""
    words = [
        re.sub(r"task/\w+\.yaml", f"task/{task}.yaml", word)
        for word in read_config(FOLDER / "adapler.yaml")["command"]
    ]
    return changed(folder, "adapler.yaml", command=[*words, *others])


def test_data_are_those_of_the_command_where_it_differs_from_the_task(tmp_path: Path) -> None:
    # 128 is what there is without a task's file, which says 512
    path = of_task(tmp_path, "imdb", "--data.max_length=128", "--data.train_rows=500")
    data = read_sweep(path)["data"]
    assert (data["max_length"], data["train_rows"]) == (128, 500)
    assert "max_length" not in read_sweep(of_task(tmp_path, "imdb"))["data"]


def test_a_task_of_ones_own_lies_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("films.yaml").write_text("data: {train: films.csv}\nmodel: {metric: f1}\n")
    command = [
        word if "task/" not in word else "--config=films.yaml"
        for word in read_config(FOLDER / "adapler.yaml")["command"]
    ]
    assert read_sweep(changed(tmp_path, "adapler.yaml", command=command))["tasks"] == ["films.yaml"]


def test_a_file_that_the_command_names_in_vain_is_told_with_the_sweep(tmp_path: Path) -> None:
    path = of_task(tmp_path, "nothing")
    said = re.escape(f"{path}: the command names configs/task/nothing.yaml, but there is no such")
    with pytest.raises(UserError, match=said):
        read_sweep(path)


@pytest.mark.parametrize("name", ["power_bert", "other"])
def test_methods_in_the_place_of_the_sweeps_are_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = {"reducer": "PowerBert", "operating_points": {"mine": {"mass_weight": 0.1}}}
    settings = tmp_path / "mine.yaml"
    settings.write_text(yaml.safe_dump({"methods": {"dense": {"reducer": "Dense"}, name: method}}))
    out = tmp_path / "out"
    words = ["--sweep", "power_bert", "--config", str(settings), "--out", str(out)]
    assert main(["compare", *words]) == 2
    assert "--sweep would not be run, for other settings take" in capsys.readouterr().err
    assert not out.exists()


def test_of_two_sweeps_none_is_left_out_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--sweep", "power_bert", "--sweep=adapler", "--out", str(tmp_path / "out")]
    assert main(["compare", *words]) == 2
    assert "--sweep is given twice" in capsys.readouterr().err


def test_a_metric_that_is_not_the_tasks_is_refused(tmp_path: Path) -> None:
    assert read_sweep(of_task(tmp_path, "mrpc", "--model.metric=f1"))
    with pytest.raises(UserError, match=r"accuracy, and a comparison measures f1, as .*mrpc"):
        read_sweep(of_task(tmp_path, "mrpc", "--model.metric=accuracy"))


def test_the_trainers_options_are_the_comparisons_or_refused(tmp_path: Path) -> None:
    command = read_config(FOLDER / "adapler.yaml")["command"]
    mixed = changed(tmp_path, "adapler.yaml", command=[*command, "--trainer.precision=bf16-mixed"])
    assert read_sweep(mixed)["precision"] == "bf16-mixed"
    words = [*command, "--trainer.limit_train_batches=1"]
    with pytest.raises(UserError, match="limit_train_batches 1 out of the command"):
        read_sweep(changed(tmp_path, "adapler.yaml", command=words))


def test_distributions_of_whole_numbers_and_of_choices(tmp_path: Path) -> None:
    given = parameters(
        epochs={"min": 1, "max": 3},
        init={"values": ["pretrained", "finetuned"], "probabilities": [0, 1]},
        length_weight={"value": 0.5},
    )
    points = points_of(changed(tmp_path, "adapler.yaml", parameters=given, run_cap=30))
    assert {point["epochs"] for point in points} == {1, 2, 3}
    assert {point["init"] for point in points} == {"finetuned"}
    assert {point["length_weight"] for point in points} == {0.5}


def test_the_best_trial_of_a_bayesian_search_is_run(tmp_path: Path) -> None:
    path = changed(tmp_path, "dact_bert.yaml", run_cap=2)
    out = tmp_path / "out"
    assert main(["compare", "--sweep", str(path), *SMALL, "--out", str(out)]) == 0
    results = pd.read_csv(out / "results.csv").set_index("method")
    assert results.operating_point.to_dict() == {"dense": "default", "dact_bert": "tuned"}
    (record,) = (json.loads(file.read_text()) for file in (out / "runs").glob("dact_bert--*.json"))
    assert record["details"]["tuning"]["trials"] == 2
    drawn = record["provenance"]["config"]["reducer"]["init_args"]
    assert 1e-2 <= drawn["tau"] <= 0.5
    assert drawn["unit_learning_rate"] in (3e-4, 1e-3, 3e-3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"run_cap": None}, "run_cap"),
        ({"method": "hyperband"}, "unknown method 'hyperband'"),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate is only for W&B"),
        ({"command": ["python", "train.py"]}, "no 'tokendrop fit'"),
        ({"command": ["tokendrop", "fit"]}, "names no task"),
        ({"command": None}, "has no 'command'"),
        ({"parameters": {"data.max_length": {"value": 3}}}, "'data.max_length' is no argument"),
        ({"parameters": parameters(tau={"min": 2, "max": 1})}, "'min' below a 'max'"),
        ({"parameters": parameters(tau=0.5)}, "values"),
        (
            {"parameters": parameters(tau={"min": 0, "max": 1.0, "distribution": "normal"})},
            "cannot be drawn as 'normal'",
        ),
        ({"method": "grid", "run_cap": None}, "in a grid"),
        ({"metric": {"name": "chosen/loss", "goal": "minimize"}}, "name: chosen/accuracy"),
        (
            {"parameters": parameters(tau={"values": [1, 2], "probabilities": [0, 1]})},
            "finds itself",
        ),
        (
            {"method": "grid", "parameters": parameters(tau={"values": 3})},
            "tau.values 3 is no l",
        ),
        (
            {"method": "grid", "parameters": parameters(tau={"values": []})},
            r"tau.values .. is no",
        ),
        (
            {"method": "random", "parameters": parameters(tau=shares([1, 2], [0.9, 0.3]))},
            r"tau.probabilities \[0.9, 0.3\] are 2 with a sum of 1.2",
        ),
        (
            {"method": "random", "parameters": parameters(tau=shares([1, 2], [1.0]))},
            r"tau.probabilities \[1.0\] are 1 .* each of the 2 values",
        ),
        (
            {"method": "random", "parameters": parameters(tau=shares([1, 2], [2, -1]))},
            r"tau.probabilities \[2, -1\] cannot be used: use a list, each a number, 0 or more",
        ),
        ({"parameters": parameters(tau={"min": 0, "max": math.inf})}, "a number 'min' below a"),
        (
            {"parameters": parameters(tau={"min": -9, "max": -2, "distribution": "log_uniform"})},
            "from 0.000123 to 0.135 are its values: use values",
        ),
        (
            {"parameters": parameters(tau={"min": 0, "max": 1.9, "distribution": "int_uniform"})},
            "tau is drawn as 'int_uniform' from 0 to 1.9: use whole numbers",
        ),
        ({"run_cap": True}, "run_cap True cannot be used"),
        ({"method": "grid", "run_cap": 0}, "run_cap 0 is too small"),
        ({"parameters": {}}, "parameters must be"),
        ({"parameters": parameters(tau={"value": 1, "vals": [2]})}, "tau.vals says nothing beside"),
        ({"parameters": parameters(tau={"values": [1], "max": 2})}, "tau.max says nothing beside"),
        (
            {"parameters": parameters(tau={"min": 0, "max": 1.0, "q": 0.1})},
            "tau.q says nothing beside 'min'",
        ),
    ],
)
def test_what_cannot_run_here_is_refused(
    settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        read_sweep(changed(tmp_path, "dact_bert.yaml", **settings))


def test_exponents_need_no_point(tmp_path: Path) -> None:
    path = changed(tmp_path, "dact_bert.yaml", method="random", parameters={"tau": 0})
    ranges = "{min: 1e-5, max: 2E-3}"
    path.write_text(path.read_text().replace("tau: 0", f"model.reducer.init_args.tau: {ranges}"))
    assert all(1e-5 <= point["tau"] <= 2e-3 for point in points_of(path))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_an_agent_gets_a_command_and_a_goal(file: Path) -> None:
    sweep = read_config(file)
    assert sweep["command"][:2] == ["${program}", "fit"]
    assert sweep["command"][-1] == "${args}"
    assert sweep["metric"] == {"name": "chosen/accuracy", "goal": "maximize"}
