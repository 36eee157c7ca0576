"""Random settings: taken, or refused in one line that names the setting; never a traceback."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import baselines
from tests.trust.mutations import changed, values
from tests.trust.trials import outcome, tried
from tokendrop.cli.compare import comparison_parser, parsed_comparison
from tokendrop.compare.grid.settings import Cell, grid
from tokendrop.configs import config_folder
from tokendrop.reducers import REDUCERS, from_spec
from tokendrop.reducers.base import Reducer
from tokendrop.testing.tiny import tiny_shape

CLASSES = [*REDUCERS, *(f"baselines.{name}" for name in baselines.__all__)]
CONFIGS = sorted((config_folder() / "compare").glob("*.yaml"))


@tried(few=60, full=2_500)
@given(st.data(), st.sampled_from(CLASSES))
def test_arguments_of_methods(data: st.DataObject, name: str) -> None:
    kind = from_spec({"class_path": name}) if name != "Chain" else None
    known = sorted(kind.arguments) if kind else ["parts"]
    names = st.sampled_from(known) if known else st.just("share")
    arguments = data.draw(st.dictionaries(names | st.text(max_size=5), values, max_size=2))

    def made() -> Reducer:
        reducer = from_spec({"class_path": name, "init_args": arguments})
        reducer.build(tiny_shape())
        return reducer

    reducer, _ = outcome("arguments of methods", made)
    if reducer is not None:
        assert from_spec(reducer.spec()).spec() == reducer.spec()


@tried(few=40, full=2_500)
@given(st.data(), st.sampled_from(CONFIGS))
def test_files_of_comparisons(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, config: Any
) -> None:
    settings = yaml.safe_load(config.read_text(encoding="utf-8"))
    for _ in range(data.draw(st.integers(1, 2))):
        settings = data.draw(changed(settings))
    file = tmp_path_factory.getbasetemp() / "comparison.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    parser = comparison_parser("compare", "demo", "")

    def cells() -> list[Cell]:
        return list(grid(parsed_comparison(parser, ["--config", str(file)])[0]))

    found, _ = outcome("files of comparisons", cells)
    assert all(cell.run.name for cell in found or [])
