"""A method that somebody wrote outside the package, as docs/write_a_reducer.md tells them to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.external.documents import WRITE_A_REDUCER, block, smoke_comparison
from tests.external.far_from_mean import FarFromMean
from tokendrop.errors import UserError
from tokendrop.models.model import load
from tokendrop.testing.tiny import built, run, tiny_model, tiny_rows

SOURCE = Path(__file__).with_name("far_from_mean.py").read_text(encoding="utf-8")


@pytest.fixture
def somewhere_else(put_on_path: Callable[..., Path]) -> Path:
    """A folder with the document's file alone in it, on the path as the working folder is."""
    return put_on_path("far_from_mean", SOURCE)


def test_the_document_shows_the_file() -> None:
    shown = block(WRITE_A_REDUCER, "python", "class FarFromMean")
    assert shown == SOURCE
    assert len(shown.splitlines()) <= 40


def test_the_check_of_the_document_passes(somewhere_else: Path) -> None:
    scope: dict[str, Callable[[], None]] = {}
    exec(block(WRITE_A_REDUCER, "python", "def test_far_from_mean"), scope)
    scope["test_far_from_mean"]()


def test_the_comparison_of_the_document_runs(somewhere_else: Path) -> None:
    mine = somewhere_else / "mine.yaml"
    mine.write_text(block(WRITE_A_REDUCER, "yaml", "far_from_mean.FarFromMean"))
    out = somewhere_else / "out"
    results = smoke_comparison(mine, out)
    assert set(results.index) >= {("far_from_mean", "half"), ("far_from_mean", "quarter")}
    half, quarter = (results.loc[("far_from_mean", point)] for point in ("half", "quarter"))
    assert 1 < half.flops_speedup_unpadded < quarter.flops_speedup_unpadded
    # both points are of one training, and the model can be loaded again
    assert len(list((out / "stages").glob("adapt-*"))) == 1
    record = json.loads(next((out / "runs").glob("far_from_mean--half*.json")).read_text())
    assert [stage["name"] for stage in record["stages"]] == ["fine_tune", "adapt"]
    folder = next((out / "stages").glob("adapt-*")) / "model"
    with pytest.raises(UserError, match=r"far_from_mean\.FarFromMean'.* trust_reducer=True"):
        load(folder)
    model = load(folder, trust_reducer=True, share=0.1)
    assert type(model.reducer).__module__ == "far_from_mean"
    (answer,) = model.predict(["a quiet film that never drags"])
    assert sorted(set(answer.token_depth)) == [1, 2]


def test_it_keeps_what_differs_from_the_rest() -> None:
    rows = tiny_rows([9])
    rows[0].ids[:] = [7, 8, 8, 8, 50, 8, 8, 8, 8]
    rows[0].types[:] = [0] * 9
    model = tiny_model("bert")
    with torch.no_grad():
        model.base_model.embeddings.position_embeddings.weight.zero_()
    depth = run(model, built(FarFromMean(layer=0, share=0.2)), rows).trace.token_depth()
    assert depth.nonzero().flatten().tolist() == [0, 4]


@pytest.mark.parametrize("given", [{"share": 0.0}, {"layer": 3}, {"layer": -1}])
def test_what_could_drop_nothing_or_everything_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="out of range"):
        built(FarFromMean(**given))
