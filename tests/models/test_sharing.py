"""Sharing a model: its card, its figures, the Hub, and Hugging Face's own classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoConfig, AutoModelForSequenceClassification, pipeline

import tokendrop
from tests.models.test_model import REDUCERS, TEXTS, model_of, tokenizer
from tokendrop.errors import UserError
from tokendrop.models import sharing
from tokendrop.models.hugging_face import TokenDropForSequenceClassification
from tokendrop.models.model import TokenDropModel
from tokendrop.models.sharing import Figures
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import LAYERS, MAX_TOKENS, tiny_model

FIGURES = Figures(
    task="film_reviews",
    backbone="some-lab/small-encoder",
    split="test",
    examples=853,
    metrics={"accuracy": 0.8125, "f1": 0.8},
    kept_tokens=0.5,
    layers=2.5,
    seed=3,
    speedups={"flops_speedup_unpadded": 2.03},
    provenance={
        "command": "tokendrop compare --out here",
        "versions": {"torch": "2.13.0"},
        "hardware": {"cpu": "a processor", "gpus": []},
    },
)


class TestCard:
    def test_it_says_what_the_model_is_and_that_nothing_was_measured(self, tmp_path: Path) -> None:
        model_of(PowerBert(configuration=[6, 4, 2])).save_pretrained(tmp_path / "model")
        card = ModelCard.load(tmp_path / "model" / "README.md")
        assert card.data.library_name == "tokendrop"
        assert card.data.pipeline_tag == "text-classification"
        assert card.data.base_model is None
        for said in ("PowerBert", "bad, fair, good", "- 6", "Not measured at this operating point"):
            assert said in card.text
        assert str(tmp_path) not in card.content

    def test_it_tells_the_figures_and_which_are_missing(self) -> None:
        model = model_of(DactBert())
        model.figures = FIGURES
        card = sharing.card(model, "me/film-exit")
        assert card.data.base_model == "some-lab/small-encoder"
        for said in (
            'tokendrop.load("me/film-exit")',
            "853 rows of the test split of film_reviews, seed 3",
            "| accuracy | 0.8125 |",
            "| FLOPs speed-up, unpadded | 2.03x |",
            "| clock speed-up, single rows, unpadded | not measured |",
            "hardware: a processor",
            "`tokendrop compare --out here`",
            "reconstruction",  # the method's own note
        ):
            assert said in card.text
        assert "chosen on these rows" not in card.text
        model.figures = dataclasses.replace(FIGURES, split="dev")
        assert "chosen on these rows" in sharing.card(model).text

    def test_where_a_backbone_lies_is_not_told(self, tmp_path: Path) -> None:
        model = model_of(Dense())
        (tmp_path / "encoder").mkdir()
        model.figures = dataclasses.replace(FIGURES, backbone=str(tmp_path / "encoder"))
        assert str(tmp_path) not in sharing.card(model).content


class TestFigures:
    def test_they_are_kept_for_each_operating_point(self, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        model_of(DactBert(halt_bias=-4.0)).save_pretrained(folder)
        assert tokendrop.load(folder).figures is None
        tight = tokendrop.load(folder, exit_rule="tight")
        tight.figures = FIGURES
        sharing.write_figures(folder, tight)
        # the folder is loaded at another point, of which nothing is known
        assert tokendrop.load(folder).figures is None
        assert "Not measured" in (folder / "README.md").read_text()
        assert tokendrop.load(folder, exit_rule="tight").figures == FIGURES
        paper = tokendrop.load(folder)
        paper.figures = dataclasses.replace(FIGURES, seed=4)
        sharing.write_figures(folder, paper)
        assert tokendrop.load(folder).figures == paper.figures
        assert tokendrop.load(folder, exit_rule="tight").figures == FIGURES
        assert "seed 4" in (folder / "README.md").read_text()

    def test_a_torn_file_is_named(self, tmp_path: Path) -> None:
        model = model_of(Dense())
        model.figures = FIGURES
        model.save_pretrained(tmp_path / "model")
        (tmp_path / "model" / "reducer" / "figures.json").write_text('[{"redu')
        with pytest.raises(UserError, match=r"figures\.json .* is torn"):
            tokendrop.load(tmp_path / "model")


class TestHub:
    def test_a_name_is_downloaded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = model_of(REDUCERS["chain"]())
        model.save_pretrained(tmp_path / "copy")
        asked: list[str] = []

        def snapshot_download(name: str) -> str:
            asked.append(name)
            return str(tmp_path / "copy")

        monkeypatch.setattr(sharing, "snapshot_download", snapshot_download)
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

        monkeypatch.setattr(sharing, "HfApi", Hub)
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


class TestHuggingFace:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        chain = REDUCERS["chain"]()
        model_of(chain).save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    @pytest.mark.parametrize("side_car", [True, False])
    def test_the_folder_is_the_plain_model(self, folder: Path, side_car: bool) -> None:
        tokendrop.register()
        if not side_car:
            (folder / "reducer").rename(folder.parent / "elsewhere")
        plain = AutoModelForSequenceClassification.from_pretrained(folder)
        assert type(plain).__name__ == "BertForSequenceClassification"
        dense = model_of(Dense()).predict(TEXTS)
        answers = pipeline("text-classification", model=plain, tokenizer=str(folder))(TEXTS)
        for mine, theirs in zip(dense, answers, strict=True):
            assert theirs["score"] == pytest.approx(mine.probabilities[theirs["label"]], abs=1e-5)

    def test_the_pipeline_runs_the_dropping_model(self, folder: Path) -> None:
        tokendrop.register()
        assert AutoConfig.from_pretrained(folder, subfolder="reducer").model_type == "tokendrop"
        model = AutoModelForSequenceClassification.from_pretrained(folder, subfolder="reducer")
        ran: list[int] = []
        model.model.register_forward_hook(
            lambda _m, _i, out: ran.extend(out.trace.processed_tokens().tolist())
        )
        classify = pipeline("text-classification", model=model, tokenizer=str(folder))
        answers = classify(TEXTS, batch_size=4, top_k=None)
        expected = tokendrop.load(folder).predict(TEXTS)
        assert ran == [sum(prediction.token_depth) for prediction in expected]
        whole = sum(len(prediction.tokens) for prediction in expected) * LAYERS
        assert sum(ran) < whole
        for mine, theirs in zip(expected, answers, strict=True):
            assert {a["label"]: pytest.approx(a["score"], abs=1e-5) for a in theirs} == (
                mine.probabilities
            )

    def test_an_operating_point_is_chosen_and_other_options_are_refused(self, folder: Path) -> None:
        tokendrop.register()
        load = AutoModelForSequenceClassification.from_pretrained
        model = load(folder, subfolder="reducer", **{"parts.1.exit_rule": "tight"})
        assert model.model.reducer.parts[1].exit_rule == "tight"
        with pytest.raises(UserError, match="load_in_8bit cannot be changed"):
            load(folder, subfolder="reducer", load_in_8bit=True)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_padding_changes_nothing_and_labels_give_the_loss(self, side: str) -> None:
        inner = model_of(REDUCERS["chain"]())
        model = TokenDropForSequenceClassification(inner).eval()
        batch = inner.tokenizer(TEXTS, padding=True, padding_side=side, return_tensors="pt")
        labels = torch.tensor([0, 1, 2, 0])
        with torch.no_grad():
            found = model(**batch, labels=labels)
        expected = torch.tensor([list(p.probabilities.values()) for p in inner.predict(TEXTS)])
        torch.testing.assert_close(found.logits.softmax(-1), expected, atol=1e-5, rtol=0)
        wanted = -expected.log()[torch.arange(4), labels].mean()
        torch.testing.assert_close(found.loss, wanted, atol=1e-4, rtol=0)

    def test_a_regression_has_the_squared_error(self) -> None:
        torch.manual_seed(0)
        inner = TokenDropModel(tiny_model("bert", num_labels=1), Dense(), tokenizer(), MAX_TOKENS)
        model = TokenDropForSequenceClassification(inner).eval()
        batch = inner.tokenizer(TEXTS, padding=True, return_tensors="pt")
        labels = torch.tensor([0.5, 2.0, -1.0, 3.5])
        with torch.no_grad():
            wanted = inner.backbone(**batch, labels=labels).loss
            torch.testing.assert_close(model(**batch, labels=labels).loss, wanted)
            torch.testing.assert_close(model(**batch, labels=labels[:, None]).loss, wanted)

    @pytest.mark.parametrize(
        ("labels", "said"),
        [
            (torch.tensor([0, 3, 1, 2]), "label 3 is none of the 3 classes.*from 0 to 2"),
            (torch.tensor([0, -1, 1, 2]), "label -1 is none"),
            (torch.tensor([0, 1]), r"shape \(2,\), but there are 4 rows"),
            (torch.tensor([0.0, 1.0, 1.0, 2.0]), "torch.float32, but this model has 3 classes"),
            (torch.eye(4, 3), r"shape \(4, 3\)"),
        ],
    )
    def test_labels_that_do_not_fit_are_named(self, labels: torch.Tensor, said: str) -> None:
        inner = model_of(Dense())
        batch = inner.tokenizer(TEXTS, padding=True, return_tensors="pt")
        with pytest.raises(UserError, match=said):
            TokenDropForSequenceClassification(inner)(**batch, labels=labels)

    def test_saved_it_is_a_model_folder(self, folder: Path, tmp_path: Path) -> None:
        tokendrop.register()
        model = AutoModelForSequenceClassification.from_pretrained(folder, subfolder="reducer")
        model.save_pretrained(tmp_path / "again")
        again = tokendrop.load(tmp_path / "again")
        assert again.predict(TEXTS) == tokendrop.load(folder).predict(TEXTS)

    def test_a_row_that_is_too_long_is_named(self) -> None:
        model = TokenDropForSequenceClassification(model_of(Dense()))
        with pytest.raises(UserError, match=f"a row has 33 tokens.*at most {MAX_TOKENS}"):
            model(torch.ones(1, 33, dtype=torch.long))
