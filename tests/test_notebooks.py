"""The notebooks run, on a tiny random model, and are what their scripts say."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import jupytext
import matplotlib
import pytest
from matplotlib import pyplot

from tests.compare.synthetic import grid
from tokendrop.compare.grid import runner

SCRIPTS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))
TINY = """
train_rows = 64
random_init = {"num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2,
               "intermediate_size": 32}
folder = "runs"
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_and_notebook_agree(script: Path) -> None:
    said, shown = jupytext.read(script), jupytext.read(script.with_suffix(".ipynb"))
    assert [(c.cell_type, c.source) for c in said.cells] == [
        (c.cell_type, c.source) for c in shown.cells
    ], f"run: jupytext --sync {script.name}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, as a reader has: what one notebook trains another finds."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs(script: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    run(script, monkeypatch)
    assert (folder / "runs").is_dir()


def test_a_trade_off_of_several_tasks_and_seeds_is_told_task_by_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = [replace(one, metric="spearman") for one in grid("stsb", (0, 1))]
    monkeypatch.setattr(runner, "compare", lambda *_: grid("sst2", (0, 1)) + numbers)
    pyplot.close("all")
    run(next(one for one in SCRIPTS if one.stem == "read_the_trade_off"), monkeypatch)
    panels = {axes.get_title(): axes for axes in pyplot.gcf().axes}
    told = {task: axes.get_ylabel() for task, axes in panels.items()}
    assert told == {"sst2": "accuracy on the test split", "stsb": "spearman on the test split"}
    # a point for each operating point, not for each seed
    assert [len(line.get_xdata()) for line in panels["sst2"].lines] == [2, 1, 2, 2]
    said = capsys.readouterr().out
    assert "dense on sst2, seed 1: 0." in said
    assert "dense on stsb" not in said


def run(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a notebook's cells on a tiny model."""
    matplotlib.use("agg")
    cells = [cell for cell in jupytext.read(script).cells if cell.cell_type == "code"]
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    # a class of the notebook is found by its module, as in a kernel
    module = ModuleType(f"notebook_{script.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for cell in cells:
        source = TINY if "parameters" in cell.metadata.get("tags", []) else cell.source
        exec(compile(source, str(script), "exec"), vars(module))
