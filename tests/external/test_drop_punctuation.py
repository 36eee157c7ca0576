"""A reducer that reads token ids, as docs/write_a_reducer.md shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.deploy.test_export import model_of, rows_of
from tests.external.documents import WRITE_A_REDUCER, block, smoke_comparison
from tests.external.drop_punctuation import DropPunctuation
from tokendrop.deploy import exits
from tokendrop.deploy.export import export_onnx
from tokendrop.errors import UserError
from tokendrop.models.backbones import load_tokenizer
from tokendrop.testing.tiny import LAYERS, built, run, tiny_model, tiny_rows

SOURCE = Path(__file__).with_name("drop_punctuation.py").read_text(encoding="utf-8")
METHODS = block(WRITE_A_REDUCER, "yaml", "drop_punctuation.DropPunctuation")


@pytest.fixture
def somewhere_else(put_on_path: Callable[..., Path]) -> Path:
    """A folder with the document's file alone in it, on the path as the working folder is."""
    return put_on_path("drop_punctuation", SOURCE)


def test_the_document_shows_the_file() -> None:
    assert block(WRITE_A_REDUCER, "python", "class DropPunctuation") == SOURCE


def test_the_check_of_the_document_passes(somewhere_else: Path) -> None:
    scope: dict[str, Callable[[], None]] = {}
    exec(block(WRITE_A_REDUCER, "python", "def test_drop_punctuation"), scope)
    scope["test_drop_punctuation"]()


def test_the_comparison_of_the_document_runs(somewhere_else: Path) -> None:
    mine = somewhere_else / "mine.yaml"
    mine.write_text(METHODS)
    results = smoke_comparison(mine, somewhere_else / "out").loc["drop_punctuation"]
    behind, start = (results.loc[point] for point in ("behind_first_layer", "from_start"))
    assert 1 < behind.flops_speedup_unpadded < start.flops_speedup_unpadded


def test_the_command_of_the_document_gives_its_ids(capsys: pytest.CaptureFixture[str]) -> None:
    _, code, _ = block(WRITE_A_REDUCER, "", "load_tokenizer").split('"')
    exec(code, {})
    ids = yaml.safe_load(METHODS)["methods"]["drop_punctuation"]["arguments"]["ids"]
    assert yaml.safe_load(capsys.readouterr().out) == ids
    assert load_tokenizer("minilm-l6").convert_ids_to_tokens(ids) == list(".,;:!?()")


def test_it_drops_what_it_is_told_and_never_the_first_token() -> None:
    rows = tiny_rows([5, 3])
    rows[0].ids[:] = [7, 8, 7, 9, 7]
    rows[1].ids[:] = [8, 9, 7]
    reducer = built(DropPunctuation(ids=[7], layer=1))
    depth = run(tiny_model("bert"), reducer, rows).trace.token_depth()
    assert depth.tolist() == [LAYERS, LAYERS, 1, LAYERS, 1, LAYERS, LAYERS, 1]


def test_a_layer_must_exist() -> None:
    with pytest.raises(UserError, match="out of range"):
        built(DropPunctuation(ids=[7], layer=LAYERS))


def test_it_is_exported_as_the_document_says(tmp_path: Path) -> None:
    model = model_of(DropPunctuation(ids=list(range(5, 40))))
    export_onnx(model, tmp_path / "onnx", rows_of([7, 1, 32, 12], 1))
    rows = rows_of([30, 1, 7, 2], 2)
    with torch.inference_mode():
        wanted = model(rows.packed())
    assert (wanted.trace.token_depth() < 2).any()
    found = exits.Model(tmp_path / "onnx")(rows.padded())
    np.testing.assert_allclose(found, wanted.logits.numpy(), atol=1e-4)
