"""A family from outside the package: one class and one registration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, Data2VecTextConfig

import tokendrop
from tests.models.test_model import TEXTS, tokenizer
from tokendrop.errors import UserError
from tokendrop.families import FAMILIES, family_of_type
from tokendrop.families.bert import Roberta
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import MAX_TOKENS, SIZES, randomised


class Data2VecText(Roberta):
    """data2vec's text model: laid out as RoBERTa is."""


def test_a_family_from_outside_runs_as_hugging_face_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "data2vec-text", Data2VecText())
    config = Data2VecTextConfig(**SIZES, pad_token_id=0)
    model = randomised(AutoModelForSequenceClassification.from_config(config))
    words = tokenizer()
    batch = words(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    plain = TokenDropModel(model, Dense(), words, MAX_TOKENS)
    for answer, expected in zip(plain.predict(TEXTS), logits.softmax(-1), strict=True):
        assert list(answer.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    dropping = TokenDropModel(model, PowerBert(configuration=[5, 3, 2]), words, MAX_TOKENS)
    together = dropping.predict(TEXTS)
    for text, answer in zip(TEXTS, together, strict=True):
        (alone,) = dropping.predict([text])
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-5)
        assert alone.token_depth == answer.token_depth
    dropping.save_pretrained(tmp_path / "model")
    assert tokendrop.load(tmp_path / "model").predict(TEXTS) == together


def test_a_class_in_place_of_a_family_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "data2vec-text", Data2VecText)
    with pytest.raises(UserError, match=r"FAMILIES\['data2vec-text'\] is .*: make a family of it"):
        family_of_type("data2vec-text")
