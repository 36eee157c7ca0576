"""Hugging Face's own classes run a saved model, with its tokens really dropped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    pipeline,
)

import tokendrop
from tests.models.test_model import REDUCERS, TEXTS, model_of, tokenizer
from tests.models.test_prediction import model_of as of_kind
from tokendrop.errors import UserError
from tokendrop.models.backbones import load_backbone
from tokendrop.models.hugging_face import (
    TokenDropForQuestionAnswering,
    TokenDropForSequenceClassification,
    TokenDropForTokenClassification,
    _warn_of_its_loss,
)
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.tasks import KINDS
from tokendrop.testing.tiny import LAYERS, MAX_TOKENS, tiny_model


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

    def test_weights_of_the_plain_model_are_not_taken_in_silence(self, folder: Path) -> None:
        tokendrop.register()
        model = AutoModelForSequenceClassification.from_pretrained(folder, subfolder="reducer")
        model.load_state_dict(model.state_dict())
        plain = load_file(folder / "model.safetensors")
        with pytest.raises(UserError, match="of the plain model, without the reducer's"):
            # as a Trainer does that goes back to its best checkpoint
            model.load_state_dict(plain, strict=False)

    def test_inputs_that_would_do_nothing_are_refused(self, folder: Path) -> None:
        tokendrop.register()
        load = AutoModelForSequenceClassification.from_pretrained
        model = load(folder, subfolder="reducer")
        rows = tokenizer()(TEXTS[:2], padding=True, return_tensors="pt")
        with torch.inference_mode():
            usual = model(**rows, output_attentions=None, output_hidden_states=False)
            (logits,) = model(**rows, return_dict=False)
            assert torch.equal(logits, usual.logits)
            for name, value in (
                ("output_attentions", True),
                ("position_ids", torch.zeros_like(rows["input_ids"])),
            ):
                with pytest.raises(UserError, match=f"^{name} would do nothing"):
                    model(**rows, **{name: value})

    def test_an_operating_point_is_chosen_and_other_options_are_refused(self, folder: Path) -> None:
        tokendrop.register()
        load = AutoModelForSequenceClassification.from_pretrained
        model = load(folder, subfolder="reducer", **{"parts.1.exit_rule": "tight"})
        assert model.model.reducer.parts[1].exit_rule == "tight"
        with pytest.raises(UserError, match="load_in_8bit cannot be changed"):
            load(folder, subfolder="reducer", load_in_8bit=True)
        half = load(folder, subfolder="reducer", dtype=torch.bfloat16).model
        assert half.backbone.dtype == torch.bfloat16
        assert half.predict(TEXTS[:1])[0].label in half.labels
        with pytest.raises(UserError, match=r"unknown dtype 'torch\.float16'"):
            load(folder, subfolder="reducer", dtype=torch.float16)

    def test_what_callers_of_hugging_face_say_is_understood(self, folder: Path) -> None:
        tokendrop.register()
        load = AutoModelForSequenceClassification.from_pretrained
        for given in (
            {"local_files_only": True, "cache_dir": str(folder.parent), "token": "secret"},
            {"use_safetensors": True, "low_cpu_mem_usage": True, "device_map": "cpu"},
            {"num_labels": 3},
        ):
            assert load(folder, subfolder="reducer", **given).dtype == torch.float32
        for dtype in (torch.bfloat16, "bfloat16"):
            # an Auto class warns of the older name
            half = TokenDropForSequenceClassification.from_pretrained(folder, torch_dtype=dtype)
            assert half.model.backbone.dtype == torch.bfloat16
        with pytest.raises(UserError, match=r"num_labels, .* of 4 .* own 3 \(bad, fair, good\)"):
            load(folder, subfolder="reducer", num_labels=4)

    def test_a_model_on_the_hub(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokendrop.register()
        # the Hub's copy on this machine, by the commit of which transformers asks for all files
        copy = tmp_path / "cache" / "models--me--film"
        (copy / "refs").mkdir(parents=True)
        (copy / "refs" / "main").write_text("a" * 40)
        (copy / "snapshots").mkdir()
        folder.rename(copy / "snapshots" / ("a" * 40))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        for given in ({}, {"revision": "main"}):
            model = AutoModelForSequenceClassification.from_pretrained(
                "me/film", subfolder="reducer", cache_dir=str(tmp_path / "cache"), **given
            )
            assert type(model).__name__ == "TokenDropForSequenceClassification"

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

    def test_a_training_without_the_method_is_told_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        _warn_of_its_loss.cache_clear()
        for reducer in (Dense(), PowerBert(configuration=[9, 8, 7])):
            model = TokenDropForSequenceClassification(model_of(reducer))
            rows = torch.randint(5, 30, (2, 6))
            model.eval()(rows)
            with torch.no_grad():
                model.train()(rows)
            assert not caplog.messages
            for _ in range(2):
                model(rows, labels=torch.tensor([0, 1])).loss.backward()
        (said,) = caplog.messages
        assert said.startswith("PowerBert is trained by the task's loss alone here")

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


class TestTagsAndQuestions:
    def test_the_pipeline_tags_words_as_predict_does(self, tmp_path: Path) -> None:
        tokendrop.register()
        tagger = of_kind("token_classification", ["O", "B-PER", "I-PER"], drops())
        tagger.save_pretrained(tmp_path / "model")
        load = AutoModelForTokenClassification.from_pretrained
        model = load(tmp_path / "model", subfolder="reducer")
        tag = pipeline(
            "token-classification",
            model=model,
            tokenizer=str(tmp_path / "model"),
            aggregation_strategy="first",
            ignore_labels=[],
        )
        texts = ["adam lives in bern", "bern lives"]
        for text, found in zip(texts, tagger.predict(texts), strict=True):
            tags = found.label.split()
            spans = [(span["entity_group"], span["word"].split()) for span in tag(text)]
            # spans leave out whether a word begins its entity
            mine = [kind for kind, words in spans for _ in words]
            assert mine == [tag.split("-")[-1] for tag in tags]

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_losses_and_logits_are_those_of_hugging_face(self, side: str) -> None:
        lengths = ["adam lives in bern", "bern"]
        tagger = of_kind("token_classification", ["O", "B-PER", "I-PER"], Dense())
        batch = tagger.tokenizer(lengths, padding=True, padding_side=side, return_tensors="pt")
        there = batch["attention_mask"].bool()
        positions = (there.cumsum(1) - 1).clamp(min=0)
        labels = torch.where(there, batch["input_ids"] % 3, -100)
        with torch.no_grad():
            found = TokenDropForTokenClassification(tagger).eval()(**batch, labels=labels)
            plain = tagger.backbone(**batch, position_ids=positions, labels=labels)
        torch.testing.assert_close(found.logits[there], plain.logits[there], atol=1e-5, rtol=0)
        torch.testing.assert_close(found.loss, plain.loss)

        reader = of_kind("question_answering", ["LABEL_0", "LABEL_1"], Dense())
        where = {"start_positions": torch.tensor([5, 99]), "end_positions": torch.tensor([6, 4])}
        with torch.no_grad():
            answer = TokenDropForQuestionAnswering(reader).eval()(**batch, **where)
            plain = reader.backbone(**batch, position_ids=positions)
        for mine, theirs in ((answer.start_logits, plain.start_logits),
                             (answer.end_logits, plain.end_logits)):  # fmt: skip
            torch.testing.assert_close(mine[there], theirs[there], atol=1e-5, rtol=0)
            assert (mine[~there] < -1e30).all()  # no answer lies in the padding
        assert answer.loss > 0

    def test_an_answer_is_where_predict_finds_it(self, tmp_path: Path) -> None:
        tokendrop.register()
        reader = of_kind("question_answering", ["LABEL_0", "LABEL_1"], drops())
        reader.save_pretrained(tmp_path / "model")
        load = AutoModelForQuestionAnswering.from_pretrained
        model = load(tmp_path / "model", subfolder="reducer").eval()
        batch = reader.tokenizer("where lives", "bern adam", return_tensors="pt")
        with torch.no_grad():
            found = model(**batch)
        (expected,) = reader.predict([("where lives", "bern adam")])
        first, last = 4, 6  # the context
        start, end = found.start_logits[0], found.end_logits[0]
        spans = [(i, j) for i in range(first, last + 1) for j in range(i, last + 1)]
        i, j = max(spans, key=lambda span: float(start[span[0]] + end[span[1]]))
        chars = batch.token_to_chars(0, i).start, batch.token_to_chars(0, j).end
        assert expected.label == "bern adam"[slice(*chars)]

    def test_the_class_of_another_head_is_named(self, tmp_path: Path) -> None:
        tokendrop.register()
        model_of(Dense()).save_pretrained(tmp_path / "model")
        with pytest.raises(UserError, match=r"use AutoModelForSequenceClassification"):
            AutoModelForTokenClassification.from_pretrained(tmp_path / "model", subfolder="reducer")


def drops() -> PowerBert:
    return PowerBert(configuration=[6, 4, 2])


class TestWhatPlainModelsDo:
    """Where the plain model would answer otherwise, nothing is answered without a word."""

    @pytest.mark.parametrize(
        ("inputs", "said"),
        [
            ({"attention_mask": [[1, 1, 0, 1], [1, 1, 1, 1]]}, "row 1 of 2 has a 0 between its"),
            ({"attention_mask": [[0, 1, 1, 1], [1, 0, 0, 1]]}, "row 2 of 2 has a 0 between its"),
            ({"attention_mask": [[1, 1, 1, 0], [0, 0, 0, 0]]}, "row 2 of 2 has no token"),
            ({"attention_mask": [[0.0, 0.0, 0.0, -1e4]] * 2}, "has the number -10000: give 1"),
            ({"attention_mask": [[1, 1, 2, 2]] * 2}, "has the number 2: give 1"),
            ({"attention_mask": [[1, 1, 1]] * 2}, r"attention_mask has the shape \(2, 3\)"),
            ({"token_type_ids": [[0, 0, 1, 1]]}, r"token_type_ids has the shape \(1, 4\)"),
            ({"input_ids": [5, 6, 7]}, r"input_ids have the shape \(3,\)"),
            ({"labels": [[0, 1, 2]] * 2}, r"labels has the shape \(2, 3\)"),
            ({"input_ids": [[5, 6, 7, 8], [5, 100, 6, 7]]}, "row 2 of 2 have 100, .* 0 to 99"),
            ({"input_ids": [[5, 6, -1, 8], [5, 6, 7, 8]]}, "input_ids of row 1 of 2 have -1"),
            ({"input_ids": [[5.0, 6.0, 7.0, 8.0]] * 2}, "are torch.float32: give the integers"),
            ({"token_type_ids": [[0, 0, 1, 2]] * 2}, "token_type_ids of row 1 of 2 have 2"),
        ],
    )
    def test_inputs_of_another_form_are_named(self, inputs: dict[str, list], said: str) -> None:
        tagger = TokenDropForTokenClassification(
            of_kind("token_classification", ["O", "B-PER", "I-PER"], Dense())
        )
        given = {"input_ids": [[5, 6, 7, 8], [8, 7, 6, 5]]} | inputs
        with pytest.raises(UserError, match=said):
            tagger(**{name: torch.tensor(values) for name, values in given.items()})

    def test_what_stands_at_padding_does_not_matter(self) -> None:
        model = TokenDropForSequenceClassification(model_of(Dense())).eval()
        mask = torch.tensor([[1, 1, 1, 0]])
        usual, strange = (model(torch.tensor([[5, 6, 7, at]]), mask).logits for at in (0, -100))
        assert torch.equal(usual, strange)

    def test_places_of_answers_for_other_rows_are_named(self) -> None:
        reader = of_kind("question_answering", ["LABEL_0", "LABEL_1"], Dense())
        where = {"start_positions": torch.tensor([1]), "end_positions": torch.tensor([1, 2])}
        with pytest.raises(UserError, match=r"start_positions has the shape \(1,\)"):
            TokenDropForQuestionAnswering(reader)(torch.full((2, 4), 5), **where)

    @pytest.mark.parametrize(
        "setting", [{"id2label": {0: "x", 1: "y", 2: "z"}}, {"output_hidden_states": True}]
    )
    def test_settings_that_would_do_nothing_are_refused(
        self, setting: dict[str, object], tmp_path: Path
    ) -> None:
        tokendrop.register()
        model_of(Dense()).save_pretrained(tmp_path / "model")
        load = AutoModelForSequenceClassification.from_pretrained
        with pytest.raises(UserError, match=f"^{next(iter(setting))} would do nothing"):
            load(tmp_path / "model", subfolder="reducer", **setting)

    def test_a_pipeline_finds_the_model_by_its_folder(self, tmp_path: Path) -> None:
        tokendrop.register()
        model_of(drops()).save_pretrained(tmp_path / "model")
        place = str(tmp_path / "model")
        inside = {"subfolder": "reducer"}  # where the tokenizer's files do not lie
        classify = pipeline(
            "text-classification", model=place, tokenizer=tokenizer(), model_kwargs=inside
        )
        wanted = tokendrop.load(place).predict(TEXTS[:1])[0]
        assert isinstance(classify.model, TokenDropForSequenceClassification)
        assert classify(TEXTS[:1])[0]["label"] == wanted.label

    @pytest.mark.parametrize("head", [False, True])
    def test_a_pipeline_gives_the_number_of_a_regression(self, head: bool, tmp_path: Path) -> None:
        start = tiny_model("electra", num_labels=1)
        (start if head else start.base_model).save_pretrained(tmp_path)
        backbone = load_backbone(str(tmp_path), [], kind="regression").eval()
        inner = TokenDropModel(backbone, Dense(), tokenizer(), MAX_TOKENS).eval()
        wanted = [prediction.value for prediction in inner.predict(TEXTS)]
        for model in (TokenDropForSequenceClassification(inner).eval(), backbone):
            numbers = pipeline("text-classification", model=model, tokenizer=inner.tokenizer)(TEXTS)
            assert [found["score"] for found in numbers] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("kind", ["classification", "token_classification"])
def test_padded_tensors_are_sent_to_what_takes_them(kind: str, tmp_path: Path) -> None:
    model = of_kind(kind, ["O", "B-PER", "I-PER"], Dense())
    padded = dict(
        model.tokenizer(["adam lives in bern", "adam"], padding=True, return_tensors="pt")
    )
    head = KINDS[kind].head.auto
    for given in (padded, padded["input_ids"]):
        with pytest.raises(UserError, match=rf"predict\(texts\).*{head.__name__}\.from_pretrained"):
            model(given)
    with pytest.raises(UserError, match='subfolder="reducer"'):
        model(**padded)
    model.save_pretrained(tmp_path / "model")
    tokendrop.register()
    head.from_pretrained(tmp_path / "model", subfolder="reducer")(**padded)
