"""The notebooks run, on a tiny random model, and are what their scripts say."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import jupytext
import matplotlib
import pytest

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
    matplotlib.use("agg")
    cells = [cell for cell in jupytext.read(script).cells if cell.cell_type == "code"]
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in cells) == 1
    # a class of the notebook is found by its module, as in a kernel
    module = ModuleType(f"notebook_{script.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for cell in cells:
        source = TINY if "parameters" in cell.metadata.get("tags", []) else cell.source
        exec(compile(source, str(script), "exec"), vars(module))
    assert (folder / "runs").is_dir()
