"""A tiny encoder and rows to train it on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.test_model import tokenizer
from tokendrop.data import TextData
from tokendrop.testing.tiny import tiny_model


@pytest.fixture(scope="package")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny encoder without a head, as people start from."""
    folder = tmp_path_factory.mktemp("backbone")
    tiny_model("bert").base_model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture
def data(backbone: str, tmp_path: Path) -> TextData:
    good = [f"we laughed a lot {'!' * n}" for n in range(1, 15)]
    bad = [f"the plot is thin {'but ' * n}" for n in range(1, 15)]
    rows = [f"{text},good" for text in good] + [f"{text},bad" for text in bad]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]))
    file = str(tmp_path / "rows.csv")
    return TextData(train=file, tokenizer=backbone, max_length=24, batch_size=4)
