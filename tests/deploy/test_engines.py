"""Engines run the dense model as it is, whatever its family and its head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from tokendrop.deploy import engines
from tokendrop.deploy.check import Rows
from tokendrop.deploy.engines import dense_runs
from tokendrop.engine.encoder import encode
from tokendrop.errors import UserError
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import CONFIGS, randomised, tiny_model, tiny_rows


@pytest.mark.parametrize(
    ("family", "head"),
    [
        *((family, AutoModelForSequenceClassification) for family in ("bert", "roberta")),
        *((family, AutoModelForSequenceClassification) for family in ("mpnet", "modernbert")),
        ("bert", AutoModelForTokenClassification),
        ("electra", AutoModelForQuestionAnswering),
    ],
)
def test_they_answer_as_the_packed_model(family: str, head: Any) -> None:
    config = CONFIGS[family]()
    config.num_labels = 2  # a question has a first and a last token
    torch.manual_seed(0)
    model = randomised(head.from_config(config))
    drawn = tiny_rows([30, 1, 7, 2, 32, 12], 1)  # most of them pairs
    rows = Rows([row.ids for row in drawn], [row.types for row in drawn], "random rows")
    given = rows.padded()
    with torch.inference_mode():
        wanted = encode(model, rows.packed(), Dense()).logits.numpy()
    for name, run in dense_runs(model, ["onnxruntime", "openvino"]).items():
        logits = run(given)
        if logits.ndim == 3:
            logits = logits[given["attention_mask"] == 1]
        apart = np.abs(logits - wanted).max() / np.abs(wanted).max()
        assert apart < (0.3 if "int8" in name else 1e-5), name


def test_a_model_that_no_file_holds_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "LARGEST", 1000)
    with pytest.raises(UserError, match="at most 2 GiB"):
        dense_runs(tiny_model("bert"), ["openvino"])
