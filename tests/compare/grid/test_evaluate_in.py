"""`evaluate_in: bf16`: what people deploy is what is measured, and it is never mixed with fp32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import tokendrop
from tests.compare.grid.test_compare import SMOKE
from tokendrop.cli import main
from tokendrop.models.placing import Dtype, cast_weights


def test_a_run_is_measured_with_weights_in_bf16(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    types: list[torch.dtype] = []

    def seen(backbone: torch.nn.Module, dtype: Dtype) -> None:
        cast_weights(backbone, dtype)
        types.append(next(backbone.parameters()).dtype)

    monkeypatch.setattr("tokendrop.compare.grid.train.cast_weights", seen)
    words = ["compare", "--config", SMOKE, "--methods", "{dense: {reducer: Dense}}"]
    words += ["--floor", "false", "--loggers", "[csv]", "--out", str(tmp_path)]
    assert main([*words, "--evaluate_in", "bf16"]) == 0
    assert types == [torch.bfloat16]
    record = json.loads(next((tmp_path / "runs").glob("dense--*.json")).read_text())
    assert record["provenance"]["evaluate_in"] == "bf16"
    # the epoch was chosen in fp32
    (epoch,) = record["stages"][0]["curve"]
    assert record["dev"]["value"] == pytest.approx(epoch["metrics"]["accuracy"], abs=0.1)
    for name in ("summary.md", "report.html"):
        assert "test split, weights in bf16" in (tmp_path / name).read_text(encoding="utf-8")
    # a model folder holds what was trained
    assert tokendrop.load(tmp_path / record["details"]["model"]).backbone.dtype == torch.float32
    capsys.readouterr()
    assert main(words) == 2
    assert "evaluate_in bf16, and now it is fp32" in capsys.readouterr().err
