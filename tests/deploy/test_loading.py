"""A trained model run by an engine answers as it does by torch."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

import tokendrop
from tests.deploy.test_export import METHODS, model_of
from tokendrop.cli import main
from tokendrop.errors import UserError

TEXTS = ["w1", "w5 w7 w9 w11 w2 w3 w60 w61 w62 w63 w64", "w4 w3", "w8 w9 w10 w11 w12 w13", "w3"]


def saved(folder: Path, name: str, classes: int = 3) -> Path:
    torch.manual_seed(0)
    model_of(METHODS[name](), classes=classes).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "engine", "classes"),
    [
        ("power_bert", "openvino", 3),
        ("adapler", "openvino", 1),
        ("adapler", "onnxruntime", 3),
        ("dact_bert", "onnxruntime", 3),
    ],
)
def test_an_engine_answers_as_torch(tmp_path: Path, name: str, engine: str, classes: int) -> None:
    folder = saved(tmp_path / "model", name, classes)
    wanted = tokendrop.load(folder).predict(TEXTS)
    model = tokendrop.load(folder, engine=engine)  # type: ignore[call-overload]
    for batch_size in (1, 2, 32):
        found = model.predict(TEXTS, batch_size)
        for one, other in zip(found, wanted, strict=True):
            assert one.tokens == other.tokens
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
            if classes == 1:
                assert float(one.label) == pytest.approx(float(other.label), abs=1e-4)
            else:
                assert one.label == other.label
            assert one.token_depth == []
    assert len(list(model.predict_each([*TEXTS, ""]))) == len(TEXTS) + 1


def test_predict_with_an_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path / "model", "power_bert")
    asked = ["predict", "--checkpoint", str(folder), *TEXTS, "--engine", "onnxruntime"]
    assert main([*asked, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    wanted = tokendrop.load(folder).predict(TEXTS)
    assert [line["label"] for line in lines] == [answer.label for answer in wanted]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "w60" in said
    assert "left after" not in said, "an engine does not know"


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("dact_bert", {"engine": "openvino"}, "use the engine onnxruntime"),
        ("power_bert", {"engine": "tensorrt"}, "no engine 'tensorrt': use onnxruntime or openvino"),
        ("power_bert", {"engine": "openvino", "dtype": "bf16"}, "in fp32, not on cpu in bf16"),
        ("power_bert", {"engine": "openvino", "device": "cuda"}, "not on cuda in fp32"),
    ],
)
def test_what_no_engine_does(tmp_path: Path, name: str, options: dict[str, str], said: str) -> None:
    folder = saved(tmp_path / "model", name)
    with pytest.raises(UserError, match=said):
        tokendrop.load(folder, **options)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("engine", "missing", "said"),
    [
        ("openvino", ["openvino"], "needs openvino: pip install 'tokendrop[deploy]', or pip"),
        ("onnxruntime", ["onnx", "onnxruntime"], "pip install onnx onnxruntime\n"),
    ],
)
def test_an_engine_that_is_not_installed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    engine: str,
    missing: list[str],
    said: str,
) -> None:
    folder, find = saved(tmp_path / "model", "power_bert"), importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n in missing else find(n))
    assert main(["predict", "--checkpoint", str(folder), "w1", "--engine", engine]) == 2
    assert said in capsys.readouterr().err
