"""Folders of sentence-transformers hold several modules, of which the encoder is the first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from tests.models.test_model import tokenizer
from tokendrop.errors import UserError
from tokendrop.models.backbones import load_backbone, load_tokenizer
from tokendrop.testing.tiny import CONFIGS

LABELS = ["bad", "fair", "good"]


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    encoder = tmp_path / "whole" / "0_Transformer"
    AutoModel.from_config(CONFIGS["bert"]()).save_pretrained(encoder)
    tokenizer().save_pretrained(encoder)
    name_modules(encoder.parent, "0_Transformer", "1_Pooling")
    return encoder.parent


def name_modules(folder: Path, *paths: str) -> None:
    kind = "sentence_transformers.models."
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"{kind}{path[2:]}"}
        for number, path in enumerate(paths)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))


@pytest.mark.parametrize("place", ["0_Transformer", ""])
def test_their_encoder_is_found(whole: Path, place: str) -> None:
    encoder = AutoModel.from_pretrained(whole / "0_Transformer")
    if not place:
        for file in (whole / "0_Transformer").iterdir():
            file.rename(whole / file.name)
        name_modules(whole, "", "1_Pooling")
    model = load_backbone(str(whole), LABELS)
    assert load_tokenizer(str(whole)).get_vocab() == tokenizer().get_vocab()
    for name, value in encoder.state_dict().items():
        assert torch.equal(model.base_model.state_dict()[name], value)


@pytest.mark.parametrize("paths", [[], ["1_Pooling"], [".."]])
def test_a_list_that_names_no_encoder(whole: Path, paths: list[str]) -> None:
    name_modules(whole, *paths)
    (whole.parent / "config.json").write_text("{}")  # not the folder's to name
    with pytest.raises(UserError, match=r"modules\.json names no folder with an encoder's"):
        load_backbone(str(whole), LABELS)


def test_a_torn_list(whole: Path) -> None:
    (whole / "modules.json").write_text('[{"path": ')
    with pytest.raises(UserError, match=r"modules\.json is not a list of modules, it is torn"):
        load_tokenizer(str(whole))
