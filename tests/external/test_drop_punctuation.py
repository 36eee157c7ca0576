"""A reducer that reads token ids, as docs/write_a_reducer.md shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.external.documents import WRITE_A_REDUCER, block, smoke_comparison
from tests.external.drop_punctuation import DropPunctuation
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
