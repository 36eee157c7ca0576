"""A model's card, and the figures that it tells."""

from __future__ import annotations

import dataclasses
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

import tokendrop
from tests.external.drop_punctuation import DropPunctuation
from tests.models.test_model import model_of
from tests.models.test_prediction import model_of as of_kind
from tokendrop.errors import UserError
from tokendrop.holding import one_writer
from tokendrop.models.cards import Figures, card, write_figures
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert

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
        found = ModelCard.load(tmp_path / "model" / "README.md")
        assert found.data.library_name == "tokendrop"
        assert found.data.pipeline_tag == "text-classification"
        assert found.data.base_model is None
        for said in ("PowerBert", "bad, fair, good", "- 6", "Not measured at this operating point"):
            assert said in found.text
        assert str(tmp_path) not in found.content

    def test_the_hub_reads_the_task_and_what_was_measured(self) -> None:
        model = model_of(DactBert())
        model.figures = dataclasses.replace(FIGURES, metrics={"matthews": 0.5, "f1": 0.8})
        found = card(model.summary).data.eval_results
        assert [(one.metric_type, one.metric_value) for one in found or []] == [
            ("matthews_correlation", 0.5),
            ("f1", 0.8),
        ]
        assert {(one.task_type, one.dataset_name, one.dataset_split) for one in found or []} == {
            ("text-classification", "film_reviews", "test")
        }
        reader = of_kind("question_answering", ["LABEL_0", "LABEL_1"], Dense())
        tagger = of_kind("token_classification", ["O", "B-PER", "I-PER"], Dense())
        for made, tag, loads in (
            (reader, "question-answering", "AutoModelForQuestionAnswering"),
            (tagger, "token-classification", "AutoModelForTokenClassification"),
        ):
            told = card(made.summary)
            assert told.data.pipeline_tag == tag
            assert f"model = {loads}.from_pretrained" in told.text
            assert "text classifier" not in told.text

    def test_it_tells_the_figures_and_which_are_missing(self) -> None:
        model = model_of(DactBert())
        model.figures = FIGURES
        found = card(model.summary, "me/film-exit")
        assert found.data.base_model == "some-lab/small-encoder"
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
            assert said in found.text
        assert "chosen on these rows" not in found.text
        model.figures = dataclasses.replace(FIGURES, split="dev")
        assert "chosen on these rows" in card(model.summary).text

    def test_it_says_what_becomes_of_long_texts_and_whether_anything_is_dropped(self) -> None:
        reader = of_kind("question_answering", ["LABEL_0", "LABEL_1"], PowerBert())
        found = card(reader.summary).text
        assert "12 tokens; longer contexts are read in windows |" in found
        assert "whose tokens or layers are really dropped" in found
        found = card(model_of(Dense()).summary).text
        assert "tokens; longer texts are cut |" in found
        assert "that drops nothing" in found
        assert "really dropped" not in found
        assert "tokens dropped" not in found

    def test_it_loads_with_trust_what_has_a_class_of_ones_own(self) -> None:
        own = DropPunctuation(ids=[7])
        for method in (own, Chain([own, DactBert()])):
            found = card(model_of(method).summary, "me/film").text
            assert 'tokendrop.load("me/film", trust_reducer=True)' in found
            assert "imported and run by `trust_reducer=True`: `DropPunctuation`." in found
        assert "trust" not in card(model_of(Chain([Dense(), DactBert()])).summary).text

    def test_the_lines_of_a_model_of_pairs_ask_for_a_pair(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = str(tmp_path / "model")
        for parts in (1, 2):
            model = model_of(Dense())
            model.answering = replace(model.answering, parts=parts)
            model.save_pretrained(folder)
            text = card(model.summary, folder).text
            scope: dict[str, Any] = {}
            for lines in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
                exec(lines, scope)
            assert scope["answer"].tokens.count("[SEP]") == parts
            assert not [record for record in caplog.records if "learned from" in record.message]
            assert ("text_pair" in text) == (parts == 2)

    def test_its_pipeline_cuts_long_texts_as_the_card_says(self, tmp_path: Path) -> None:
        tagger = of_kind("token_classification", ["O", "B-PER", "I-PER"], Dense())
        for name, model in {"classes": model_of(Dense()), "tags": tagger}.items():
            folder = str(tmp_path / name)
            model.save_pretrained(folder)
            text = card(model.summary, folder).text
            assert "longer texts are cut" in text
            scope = {"tokendrop": tokendrop}
            exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1], scope)
            assert isinstance(scope["ask"]("bern " * 300), list)

    def test_where_a_backbone_lies_is_not_told(self, tmp_path: Path) -> None:
        model = model_of(Dense())
        (tmp_path / "encoder").mkdir()
        model.figures = dataclasses.replace(FIGURES, backbone=str(tmp_path / "encoder"))
        assert str(tmp_path) not in card(model.summary).content


class TestFigures:
    def test_they_are_kept_for_each_operating_point(self, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        model_of(DactBert(halt_bias=-4.0)).save_pretrained(folder)
        assert tokendrop.load(folder).figures is None
        tight = tokendrop.load(folder, exit_rule="tight")
        tight.figures = FIGURES
        write_figures(folder, tight.summary)
        # the folder is loaded at another point, of which nothing is known
        assert tokendrop.load(folder).figures is None
        assert "Not measured" in (folder / "README.md").read_text()
        assert tokendrop.load(folder, exit_rule="tight").figures == FIGURES
        paper = tokendrop.load(folder)
        paper.figures = dataclasses.replace(FIGURES, seed=4)
        write_figures(folder, paper.summary)
        assert tokendrop.load(folder).figures == paper.figures
        assert tokendrop.load(folder, exit_rule="tight").figures == FIGURES
        assert "seed 4" in (folder / "README.md").read_text()

    def test_who_writes_them_at_the_same_time_is_waited_for(self, tmp_path: Path) -> None:
        folder = tmp_path / "model"
        model_of(DactBert()).save_pretrained(folder)
        begun, done = threading.Event(), threading.Event()

        def other() -> None:
            with one_writer(folder / "reducer" / "figures.json"):
                begun.set()
                done.wait(0.5)
                assert not (folder / "reducer" / "figures.json").exists()

        writes = threading.Thread(target=other)
        writes.start()
        begun.wait()
        model = tokendrop.load(folder, exit_rule="tight")
        model.figures = FIGURES
        write_figures(folder, model.summary)
        writes.join()
        assert tokendrop.load(folder, exit_rule="tight").figures == FIGURES
        assert not [*folder.rglob("*.lock")]

    def test_a_torn_file_is_named(self, tmp_path: Path) -> None:
        model = model_of(Dense())
        model.figures = FIGURES
        model.save_pretrained(tmp_path / "model")
        (tmp_path / "model" / "reducer" / "figures.json").write_text('[{"redu')
        with pytest.raises(UserError, match=r"figures\.json .* is torn"):
            tokendrop.load(tmp_path / "model")
