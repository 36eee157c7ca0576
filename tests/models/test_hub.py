"""Models by their names on the Hub, and models put there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tokendrop
from tests.models.test_model import REDUCERS, TEXTS, model_of
from tokendrop.errors import UserError
from tokendrop.models import hub
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert


class TestHub:
    def test_a_name_is_downloaded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = model_of(REDUCERS["chain"]())
        model.save_pretrained(tmp_path / "copy")
        asked: list[str] = []

        def snapshot_download(name: str) -> str:
            asked.append(name)
            return str(tmp_path / "copy")

        monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
        assert tokendrop.load("me/film").predict(TEXTS) == model.predict(TEXTS)
        changed = TokenDropModel.from_pretrained("me/film", **{"parts.1.check_every": 3})
        assert changed.reducer.parts[1].check_every == 3
        assert asked == ["me/film", "me/film"]
        # a folder is never asked for
        tokendrop.load(tmp_path / "copy")
        assert len(asked) == 2

    @pytest.mark.parametrize("name", ["me/no-such-model", "no-such-model"])
    def test_offline_or_unknown(self, name: str) -> None:
        with pytest.raises(UserError, match=f"no model '{name}'.*does not have it or cannot be"):
            tokendrop.load(name)

    def test_neither_folder_nor_name(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="there is no such folder, and it cannot be a name"):
            tokendrop.load(tmp_path / "gone")

    @pytest.mark.parametrize("name", [None, 7, b"model"])
    def test_what_is_no_name_is_refused(self, name: Any) -> None:
        with pytest.raises(UserError, match="names no model: give its folder"):
            tokendrop.load(name)

    def test_a_pushed_model_is_the_saved_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: dict[str, Any] = {}

        class Address(str):
            repo_id = "me/film"

        class Hub:
            def __init__(self, token: str | None) -> None:
                calls["token"] = token

            def create_repo(self, repo_id: str, private: bool | None, exist_ok: bool) -> Address:
                calls.update(repo_id=repo_id, private=private)
                return Address(f"https://huggingface.co/{repo_id}")

            def upload_folder(self, repo_id: str, folder_path: Path) -> None:
                calls["uploaded"] = repo_id
                folder_path.rename(tmp_path / "hub")

        monkeypatch.setattr(hub, "HfApi", Hub)
        model = model_of(PowerBert(configuration=[6, 4, 2]))
        assert model.push_to_hub("me/film", private=True, token="t") == (
            "https://huggingface.co/me/film"
        )
        assert calls == {
            "token": "t", "repo_id": "me/film", "private": True, "uploaded": "me/film",
        }  # fmt: skip
        assert tokendrop.load(tmp_path / "hub").predict(TEXTS) == model.predict(TEXTS)
        assert 'tokendrop.load("me/film")' in (tmp_path / "hub" / "README.md").read_text()

    def test_pushing_without_a_connection(self) -> None:
        with pytest.raises(UserError, match="cannot put the model on the Hugging Face hub as"):
            model_of(Dense()).push_to_hub("me/film")
