"""``python -m tokendrop.golden``: the authors' numbers are met, and others are noticed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tokendrop.golden import Difference, compare, compare_rows
from tokendrop.golden.__main__ import main

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = sorted(str(cases.parent.relative_to(GOLDEN)) for cases in GOLDEN.rglob("cases.json"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_authors_numbers_are_met(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(GOLDEN / folder)]) == 0
    printed = capsys.readouterr().out
    assert " 0 failed" in printed
    assert "FAILED" not in printed


def _first_logit(cases: Any, value: float) -> None:
    """Replace one logit of a folder of either kind."""
    case = cases["hard"][0] if isinstance(cases, dict) else cases[0]
    logits = case["logits"] if "logits" in case else case["start_logits"]
    row = logits[0] if isinstance(logits[0], list) else logits
    row[0] = row[0] + value


def _kept(cases: Any) -> None:
    """Let a layer keep one token less."""
    if isinstance(cases, dict):
        cases["hard"][-1]["tokens_entering_attention_per_layer"][1] -= 1
    else:
        next(k for case in cases for k in case["kept_per_executed_layer"] if k)[0].pop()


TAMPERINGS: dict[str, Callable[[Any], None]] = {
    "logit": lambda cases: _first_logit(cases, 3e-4),
    "not_a_number": lambda cases: _first_logit(cases, float("nan")),
    "kept": _kept,
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=TAMPERINGS.keys())
@pytest.mark.parametrize("folder", FOLDERS)
def test_other_numbers_are_noticed(
    folder: str, tamper: Callable[[Any], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(GOLDEN / folder, tmp_path / "copy")
    cases = json.loads((copy / "cases.json").read_text())
    tamper(cases)
    (copy / "cases.json").write_text(json.dumps(cases))
    assert main([str(copy)]) == 1
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize("change", [1e-2, -1e-2])
def test_soft_quantities_are_checked_too(
    change: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(GOLDEN / "adapler", tmp_path / "copy")
    cases = json.loads((copy / "cases.json").read_text())
    for case in cases["soft"]:
        for name in ("cross_entropy", "length_loss", "speedup_loss", "kl_weighted_sum_12_to_1"):
            case[name] += change
        for name in ("eta_gradient", "kl_per_layer"):
            case[name][3] += change
        case["soft_lengths_per_layer"][2][1] += change
        case["contributions_per_layer"][2][1][1] += change
        case["logits"][1][1] += change
    cases["saliency"][0]["saliency"][1][1] += change
    (copy / "cases.json").write_text(json.dumps(cases))
    assert main([str(copy)]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.endswith("FAILED")]
    assert len(failed) == 9 * len(cases["soft"]) + 1


@pytest.mark.parametrize(
    "content", [None, "{", "[]", "{}", "[1]", '{"hard": [], "soft": [], "saliency": []}']
)
def test_what_is_no_golden_data_is_refused_in_one_line(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "cases.json").write_text(content)
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "no golden data" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("lost", ["strategy.safetensors", "model.safetensors", "config.json"])
def test_a_folder_without_its_weights_is_refused(
    lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(GOLDEN / "adapler", tmp_path / "copy")
    (copy / lost).unlink()
    assert main([str(copy)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_difference_fails_unless_it_is_small() -> None:
    assert not Difference("case", "logits", 1e-4).failed
    for value in (1.1e-4, float("inf"), float("nan")):
        assert Difference("case", "logits", value).failed
    assert compare("case", "logits", torch.zeros(2), [0.0, 0.0, 0.0]).failed
    assert compare("case", "logits", torch.tensor([0.0, float("nan")]), [0.0, 0.0]).failed
    assert compare_rows("case", "scores", [torch.zeros(1)], [[0.0], [0.0]]).failed
