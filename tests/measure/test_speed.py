"""`tokendrop speed`: the methods set by hand keep what they were asked to; its file holds all."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import BertTokenizer

from tokendrop.cli import main
from tokendrop.engine import compiled
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.measure.flops import dense_flops, pass_flops
from tokendrop.measure.speed import shapes
from tokendrop.measure.speed.by_hand import METHODS
from tokendrop.measure.speed.shapes import random_model, random_rows
from tokendrop.models.backbones import shape_of
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.power_bert import PowerBert

TINY = {
    "num_hidden_layers": 6,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 256,
}


class Mine(PowerBert):
    """A method from outside of the package."""


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shapes.MODEL_SHAPES, "minilm-l6", TINY)


@pytest.mark.parametrize("share", [0.7, 0.4])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_set_by_hand_keeps_the_share(method: str, share: float) -> None:
    model = random_model("minilm-l6")
    rows = random_rows("medium", 16)
    batch, shape = Batch.pack(rows), shape_of(model.config, 128)
    reducer = METHODS[method](share, batch, shape).eval()
    with torch.no_grad():
        trace = encode(model, batch, reducer).trace
    fed = sum(len(layer.feed_forward.tokens) for layer in trace.layers) / len(batch.input_ids) / 6
    # a quarter of a ranking layer's work is done on what enters it
    assert fed == pytest.approx(share, abs=0.06)
    spent = pass_flops(trace, reducer, model, shape)
    whole = dense_flops([len(row) for row in rows], model, shape)
    assert spent / whole == pytest.approx(share, abs=0.12)


def test_its_file_has_every_ratio(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")  # without the minute in which C++ is compiled
    compiled._compiled.cache_clear()
    out = tmp_path / "speed.json"
    words = ["--shapes", "minilm-l6", "--mixes", "short", "--batch-sizes", "4", "--kept", "0.5"]
    few = ["--rounds", "3", "--seconds", "0", "--attainable", "--memory", "minilm-l6:short:4"]
    few += ["--train-rows", "4", "--dtype", "bf16", "--compile"]
    assert main(["speed", *words, *few, "--json", str(out)]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    assert {"versions", "hardware", "threads", "matmul_gflops_per_second"} <= set(found["machine"])
    assert [row["method"] for row in found["rows"]] == ["dense", *METHODS]
    for row in found["rows"]:
        assert (row["model_shape"], row["length_mix"], row["batch_size"]) == (
            "minilm-l6",
            "short",
            4,
        )
        assert row["throughput_speedup_padded"] > 0
        assert row["flops_speedup_padded"] > row["flops_speedup_unpadded"] >= 1
        ratio = row["throughput_speedup_unpadded"] / row["flops_speedup_unpadded"]
        assert row["eta"] == pytest.approx(ratio)
        alone = row["throughput_speedup_attainable"]
        assert alone is None if row["method"] == "dense" else alone > 0
        assert 0 < row["matmul_share"] < 1
    trained = [row["method"] for row in found["training"]]
    assert trained == [
        "packed_dense",
        "packed_dense, compiled",
        "adapler, adaptive",
        "dact_bert, joint",
        "length_adaptive, length_adaptive",
        "power_bert, search",
        "power_bert, retrain",
    ]
    assert all(row["throughput_speedup_padded"] > 0 for row in found["training"])
    assert {"inference_packed_mib", "training_padded_mib"} <= set(found["memory"][0])
    shown = capsys.readouterr().out
    assert "attainable" in shown
    assert all(f"{method} " in shown for method in METHODS)  # none of them cut off
    compiled._compiled.cache_clear()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--kept", "0.5", "0"], "--kept 0.0 is out of range: use a number, more than 0 and at"),
        (["--rounds", "0"], "--rounds 0 is too small: use a whole number, 1 or more\n"),
        (["--seconds", "-1"], "--seconds -1.0 is out of range"),
        (["--seconds", "nan"], "--seconds nan is out of range"),
        (["--batch-sizes", "8", "0"], "--batch-sizes 0 is too small"),
        (["--train-rows", "0"], "--train-rows 0 is too small"),
        (["--memory", "minilm-l6:long:0"], "not like minilm-l6:long:32"),
        (["--memory", "minilm-l6:long"], "not like minilm-l6:long:32"),
        (["--json", "/dev/null"], "--json /dev/null is not a regular file"),
        (["--json", f"{__file__}/speed.json"], "name another with --json"),
        (
            ["--exported", "folder", "--kept", "0.3"],
            "--kept changes nothing about --exported f",
        ),
        (["--exported", "folder", "--train-rows", "8"], "--train-rows changes nothing"),
        (["--exported", "folder", "--texts", "a", "--mixes", "long"], "nothing about --texts"),
        (["--trust-reducer"], "--trust-reducer is for an exported model"),
        (["--column", "text"], "--column is for an exported model"),
        (["--device", "cuda"], "sees no GPU"),
        (["--device", "meta"], "device meta is not supported"),
    ],
)
def test_bad_input_is_found_before_anything_is_timed(
    words: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("tokendrop.cli.speed._matmul", lambda *_: pytest.fail("timed"))
    assert main(["speed", *words]) == 2
    assert told in capsys.readouterr().err


def test_engines_are_yardsticks_beside_the_methods(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "speed.json"
    words = ["--shapes", "minilm-l6", "--mixes", "short", "--batch-sizes", "4", "--methods"]
    few = ["--rounds", "3", "--seconds", "0", "--train-rows", "2", "--engines", "openvino"]
    assert main(["speed", *words, *few, "--json", str(out)]) == 0
    found = {row["method"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(found) == ["dense", "openvino fp32", "openvino fp32, sorted"]
    assert found["openvino fp32"]["flops_speedup_padded"] == 1
    assert found["openvino fp32, sorted"]["flops_speedup_padded"] > 1
    assert found["openvino fp32"]["milliseconds"] > 0
    assert main(["speed", "--engines", "openvino", "--dtype", "bf16"]) == 2
    assert "leave out" in capsys.readouterr().err


def test_an_exported_model_is_timed_against_its_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "plot"]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    model = TokenDropModel(
        random_model("minilm-l6"), PowerBert(configuration=[60, 50, 40, 30, 20, 10]), tokenizer, 100
    )
    # fewer words than the random rows of other models have
    model.backbone.resize_token_embeddings(len(words))
    folder, out = tmp_path / "model", tmp_path / "speed.json"
    model.save_pretrained(folder)
    assert main(["export", str(folder), "--out", str(tmp_path / "onnx")]) == 0
    few = ["--rounds", "3", "--seconds", "0", "--json", str(out), "--exported"]
    engines = ["--engines", "onnxruntime", "openvino"]
    left = tmp_path / ".0123abcd-1-x.draft"  # by a kill, on another machine
    left.write_text("half")
    os.utime(left, (0, 0))  # long ago
    assert main(["speed", *few, str(tmp_path / "onnx"), *engines]) == 0
    assert not left.exists()
    said = capsys.readouterr().out
    found = json.loads(out.read_text())["exported"]
    assert [row["engine"] for row in found] == ["onnxruntime fp32", "openvino fp32"]
    assert found[0]["flops_speedup_unpadded"] == pytest.approx(2.6, abs=0.3)
    assert "PowerBert in openvino fp32, all_128 rows of up to 100 tokens, 1 at a time: " in said
    assert main(["speed", *few, str(folder)]) == 2
    told = capsys.readouterr().err
    assert "is no exported model, its config.json has no tokendrop_export: write one" in told
    (tmp_path / "blank.txt").write_text("\n")
    assert (
        main(["speed", *few, str(tmp_path / "onnx"), "--texts", str(tmp_path / "blank.txt")]) == 2
    )
    assert "holds no texts" in capsys.readouterr().err
    (tmp_path / "some.txt").write_text("a plot\nour hero and a plot\n")
    words = ["speed", *few, str(tmp_path / "onnx"), "--texts", str(tmp_path / "some.txt")]
    assert main(words) == 0
    assert "PowerBert in onnxruntime fp32, texts of up to 7 tokens, 1 at a time: " in (
        capsys.readouterr().out
    )
    pd.DataFrame({"plot": ["a plot", "our hero and a plot"]}).to_csv(tmp_path / "some.csv")
    words = ["speed", *few, str(tmp_path / "onnx"), "--texts", str(tmp_path / "some.csv")]
    assert main([*words, "--column", "plot"]) == 0
    assert "texts of up to 7 tokens" in capsys.readouterr().out
    (tmp_path / "three.txt").write_text("a plot\na\tb\tc\n")
    words = ["speed", *few, str(tmp_path / "onnx"), "--texts", str(tmp_path / "three.txt")]
    assert main(words) == 2
    assert "line 2 has 3 parts" in capsys.readouterr().err
    config = tmp_path / "onnx" / "config.json"
    config.write_text(re.sub(r"[\w.]*PowerBert", f"{__name__}.Mine", config.read_text()))
    assert main(["speed", *few, str(tmp_path / "onnx")]) == 2
    assert "--trust-reducer" in capsys.readouterr().err
    assert main(["speed", *few, str(tmp_path / "onnx"), "--trust-reducer"]) == 0
    assert "Mine in onnxruntime fp32" in capsys.readouterr().out
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["speed", *few, str(tmp_path / "onnx"), "--trust-reducer"]) == 2
    assert "the engine onnxruntime needs onnxruntime" in capsys.readouterr().err
