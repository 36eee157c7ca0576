"""A folder from a stranger runs nothing: payloads by every route, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import SMALL, reviews  # noqa: F401
from tests.models.test_model import model_of
from tokendrop.cli import main
from tokendrop.reducers.power_bert import PowerBert

ROOT = Path(__file__).parents[2]
EVIL = "open('pwned', 'w').close()\nclass Evil:\n    pass\n"
COMPARISON = """
backbone: minilm-l6
random_init: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 16}
tasks: [TASK]
seeds: [1]
fine_tune: {epochs: 1, learning_rate: 1.0e-3}
clock: {rows: 6, single_rows: 2, rounds: 1}
loggers: [csv]
methods:
  dense: {reducer: Dense}
  length_adaptive:
    reducer: LengthAdaptive
    arguments: {learning_rate: 1.0e-3, epochs: 1, length_basis: row}
    search:
      budgets: {most: 0.9}
      settings: {generations: 1, population: 2, mutations: 1, crossovers: 1, rows: 6}
"""


@pytest.fixture(scope="module")
def attempts(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:  # noqa: F811
    """What was tried and what was said; the last entry has the modules that were imported."""
    here = tmp_path_factory.mktemp("hostile")
    good, fit, out = here / "good", here / "fit", here / "comparison"
    model_of(PowerBert(configuration=[6, 4, 2])).save_pretrained(good)
    fit.mkdir()
    (fit / "reviews.csv").write_text(reviews.read_text())
    words = [*SMALL, "--data.train", str(fit / "reviews.csv"), "--out", str(fit)]
    assert main(["fit", *words]) == 0
    task = here / "reviews.yaml"
    task.write_text(json.dumps({"data": {"train": str(fit / "reviews.csv"), "max_length": 16}}))
    (here / "comparison.yaml").write_text(COMPARISON.replace("TASK", str(task)))
    config = ["--config", str(here / "comparison.yaml")]
    assert main(["compare", *config, "--out", str(out)]) == 0
    # the working directory has modules of the names that folders may ask for
    cwd = here / "cwd"
    (cwd / "baselines").mkdir(parents=True)
    for module in ("evil.py", "baselines/__init__.py"):
        (cwd / module).write_text(EVIL)
    done = subprocess.run(
        [sys.executable, "-m", "tests.trust.attack", str(good), str(fit / "model"), str(out)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def nothing_is_executed(attempts: list[dict[str, Any]]) -> None:
    assert not [attempt for attempt in attempts[:-1] if attempt["left"]]


def nothing_is_imported(attempts: list[dict[str, Any]]) -> None:
    imported = set(attempts[-1]["imported"])
    named = {"evil", "this", "sqlite3", "torch.hub"}
    assert named & imported == set()
    assert not [name for name in imported if name.startswith("baselines")]


def every_attempt_ends_in_one_line_or_does_what_it_always_does(
    attempts: list[dict[str, Any]],
) -> None:
    assert len(attempts) > 600
    for attempt in attempts[:-1]:
        lines = [x for x in attempt["said"].splitlines() if x.startswith("tokendrop: error:")]
        assert attempt["ended"] in ("done", "exit 0", "exit 2", "refused"), attempt
        assert len(lines) == (attempt["ended"] in ("exit 2", "refused")), attempt
        assert "Traceback" not in attempt["said"], attempt


def a_side_car_that_names_anything_else_is_refused(attempts: list[dict[str, Any]]) -> None:
    of_reducers = [a for a in attempts[:-1] if " as " in a["what"] and "figures" not in a["what"]]
    assert {a["route"] for a in of_reducers} >= {
        "load", "from_pretrained", "auto", "own class", "predict", "test", "validate", "search",
    }  # fmt: skip
    assert all(a["ended"] in ("exit 2", "refused") for a in of_reducers)


def test_a_hostile_folder_runs_nothing(attempts: list[dict[str, Any]]) -> None:
    # one test: several could go to several processes, and each would make all attempts anew
    nothing_is_executed(attempts)
    nothing_is_imported(attempts)
    every_attempt_ends_in_one_line_or_does_what_it_always_does(attempts)
    a_side_car_that_names_anything_else_is_refused(attempts)
