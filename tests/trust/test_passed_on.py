"""A model folder that is passed on: weights that are not those that were saved are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

import tokendrop
from tests.models.test_model import model_of
from tests.trust.test_sums import DAMAGE, Damage, damage_of
from tokendrop.errors import UserError
from tokendrop.reducers.dact_bert import DactBert


@pytest.mark.parametrize("name", ["model.safetensors", "reducer/reducer.safetensors"])
def test_a_model_with_other_weights_than_were_saved_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    model_of(DactBert()).save_pretrained(folder)
    whole = tokendrop.load(folder).predict(["the plot is thin"])
    # what people correct by hand is no damage
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"good"', '"fine"'))
    assert "fine" in tokendrop.load(folder).labels
    file = folder / name
    content = file.read_bytes()

    @settings(max_examples=10)
    @given(DAMAGE)
    def is_refused(how: Damage) -> None:
        with damage_of(file, how), pytest.raises(UserError, match=f"{file} is .*SHA256SUMS"):
            tokendrop.load(folder)

    is_refused()
    file.unlink()
    with pytest.raises(UserError, match=f"{file} is missing"):
        tokendrop.load(folder)
    # of earlier versions and of other people there are no sums
    file.write_bytes(content)
    (folder / "SHA256SUMS").unlink()
    (again,) = tokendrop.load(folder).predict(["the plot is thin"])
    assert list(again.probabilities.values()) == list(whole[0].probabilities.values())


def test_a_list_of_sums_that_names_what_has_no_end_is_refused(tmp_path: Path) -> None:
    model_of(DactBert()).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "SHA256SUMS").write_text(f"{'0' * 64}  /dev/zero\n")
    with pytest.raises(UserError, match="/dev/zero"):
        tokendrop.load(tmp_path / "model")
