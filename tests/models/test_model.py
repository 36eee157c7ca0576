"""Saving, loading and predicting: what a user does with a trained model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizer,
)

import tokendrop
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.families import FAMILIES
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers import from_spec, with_changes
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import CONFIGS, MAX_TOKENS, packed, tiny_model, tiny_rows

WORDS = ["the", "plot", "is", "thin", "but", "we", "laughed", "a", "lot", "##s", "!"]
TEXTS = ["the plot is thin", "but we laughed a lots !", "!", "the the the a a a plot plot thin"]


def tokenizer() -> BertTokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return BertTokenizer(vocab={word: i for i, word in enumerate(special + WORDS)})


def model_of(reducer: Reducer, family: str = "bert") -> TokenDropModel:
    torch.manual_seed(0)
    backbone = tiny_model(family, id2label={0: "bad", 1: "fair", 2: "good"})
    return TokenDropModel(backbone, reducer, tokenizer(), MAX_TOKENS).eval()


REDUCERS = {
    "dense": lambda: Dense(),
    "power_bert": lambda: PowerBert(configuration=[6, 4, 2]),
    "dact_bert": lambda: DactBert(halt_bias=-4.0),
    "chain": lambda: Chain([PowerBert(configuration=[6, 4, 2]), DactBert(halt_bias=-1.0)]),
}


@pytest.mark.parametrize("name", REDUCERS)
def test_saved_and_loaded_it_predicts_the_same(name: str, tmp_path: Path) -> None:
    model = model_of(REDUCERS[name]())
    model.save_pretrained(tmp_path / "model")
    assert tokendrop.load(tmp_path / "model").predict(TEXTS) == model.predict(TEXTS)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_torchs_default_type_is_not_the_methods(kind: torch.dtype, tmp_path: Path) -> None:
    model = model_of(REDUCERS["chain"]())
    model.save_pretrained(tmp_path / "model")
    usual = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        again = tokendrop.load(tmp_path / "model")
        assert torch.get_default_dtype() == kind
        assert {weight.dtype for weight in again.reducer.parameters()} == {torch.float32}
        found = again.predict(TEXTS)
    finally:
        torch.set_default_dtype(usual)
    assert [p.label for p in found] == [p.label for p in model.predict(TEXTS)]


@pytest.mark.parametrize("name", REDUCERS)
def test_a_batch_is_trained_on_after_it_was_run_in_inference_mode(name: str) -> None:
    rows, model = tiny_rows(), model_of(REDUCERS[name]())
    expected = _gradients(model, packed(rows))
    batch = packed(rows)
    with torch.inference_mode():
        model(batch)
    assert all(map(torch.equal, _gradients(model, batch), expected))


def _gradients(model: TokenDropModel, batch: Batch) -> list[torch.Tensor]:
    model.zero_grad()
    cross_entropy(model(batch).logits, batch.labels).backward()
    return [weight.grad for weight in model.backbone.parameters() if weight.grad is not None]


@pytest.mark.parametrize("auto", [AutoModel, AutoModelForMaskedLM])
def test_a_backbone_without_a_head_is_refused(auto: Any) -> None:
    with pytest.raises(UserError, match=r"has no head .*: load it by one of AutoModelForSequence"):
        TokenDropModel(auto.from_config(CONFIGS["bert"]()), Dense(), tokenizer(), MAX_TOKENS)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_saved_and_loaded(family: str, tmp_path: Path) -> None:
    model = model_of(PowerBert(configuration=[6, 4, 2]), family)
    model.save_pretrained(tmp_path / "model")
    again = tokendrop.load(tmp_path / "model")
    assert again.shape == model.shape
    assert again.predict(TEXTS) == model.predict(TEXTS)


def test_the_folder_is_a_plain_hugging_face_checkpoint(tmp_path: Path) -> None:
    model = model_of(PowerBert(configuration=[6, 4, 2]))
    model.save_pretrained(tmp_path / "model")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    for name, weight in model.backbone.state_dict().items():
        torch.testing.assert_close(plain.state_dict()[name], weight)


@pytest.mark.parametrize("given", [{"model_input_names": ["input_ids", "attention_mask"]}, {}])
def test_a_pair_is_marked_as_hugging_face_marks_it(given: dict[str, Any], tmp_path: Path) -> None:
    model_of(Dense()).save_pretrained(tmp_path / "model")
    BertTokenizer(vocab=tokenizer().get_vocab(), **given).save_pretrained(tmp_path / "model")
    pair = ("the plot is thin", "we laughed a lot !")
    (found,) = tokendrop.load(tmp_path / "model").predict([pair])
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    inputs = AutoTokenizer.from_pretrained(tmp_path / "model")(*pair, return_tensors="pt")
    assert ("token_type_ids" in inputs) == (not given)
    with torch.no_grad():
        (wanted,) = theirs(**inputs).logits.softmax(-1)
    torch.testing.assert_close(torch.tensor([*found.probabilities.values()]), wanted)


def test_predictions_do_not_depend_on_company() -> None:
    model = model_of(REDUCERS["chain"]())
    together = model.predict(TEXTS)
    for text, prediction in zip(TEXTS, together, strict=True):
        (alone,) = model.predict([text])
        assert alone.probabilities == pytest.approx(prediction.probabilities, abs=1e-5)
        assert (alone.token_depth, alone.row_depth) == (
            prediction.token_depth,
            prediction.row_depth,
        )


def test_a_prediction_says_which_token_lived_how_long() -> None:
    (prediction,) = model_of(PowerBert(configuration=[4, 3, 2])).predict(["the plot is thin"])
    assert prediction.tokens == ["[CLS]", "the", "plot", "is", "thin", "[SEP]"]
    assert prediction.token_depth[0] == 3
    assert sorted(prediction.token_depth) == [0, 0, 1, 2, 3, 3]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert prediction.label == max(prediction.probabilities, key=prediction.probabilities.get)


def test_long_texts_are_cut_and_pairs_are_read(caplog: pytest.LogCaptureFixture) -> None:
    model = model_of(Dense())
    (long, pair) = model.predict(["plot " * 500, ("the plot", "is thin")])
    assert len(long.tokens) == MAX_TOKENS
    assert f"1 of 2 texts were cut to {MAX_TOKENS} tokens" in caplog.text
    assert pair.tokens.count("[SEP]") == 2


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_named(text: str) -> None:
    with pytest.raises(UserError, match="text 2 of 3 is empty"):
        model_of(Dense()).predict(["the plot", text, "thin"])


def test_a_wrapped_model_is_refused() -> None:
    wrapped: Any = torch.nn.DataParallel(tiny_model("bert"))
    with pytest.raises(UserError, match=r"is a DataParallel, .*give what is in it"):
        TokenDropModel(wrapped, Dense(), tokenizer(), MAX_TOKENS)


def test_one_text_instead_of_a_list_is_refused() -> None:
    with pytest.raises(UserError, match="list of texts"):
        model_of(Dense()).predict("the plot")


class TestBadFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        model_of(PowerBert(configuration=[6, 4, 2])).save_pretrained(tmp_path / "model")
        # as of people who change weights and say so
        (tmp_path / "model" / "SHA256SUMS").unlink()
        return tmp_path / "model"

    def test_not_a_model(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no config\.json"):
            tokendrop.load(tmp_path)

    def test_weights_of_another_family(self, folder: Path, tmp_path: Path) -> None:
        model_of(Dense(), "distilbert").save_pretrained(tmp_path / "other")
        for file in ("config.json", "model.safetensors"):
            (folder / file).write_bytes((tmp_path / "other" / file).read_bytes())
        with pytest.raises(
            UserError, match="trained on a bert backbone but the weights beside it are distilbert"
        ):
            tokendrop.load(folder)

    def test_reducer_weights_of_another_size(self, folder: Path) -> None:
        file = folder / "reducer" / "reducer.safetensors"
        weights = load_file(file)
        save_file({k: v[:2].contiguous() for k, v in weights.items()}, file)
        with pytest.raises(UserError, match=r"reducer\.safetensors do not fit PowerBert"):
            tokendrop.load(folder)

    def test_reducer_weights_that_are_no_numbers(self, folder: Path) -> None:
        file = folder / "reducer" / "reducer.safetensors"
        save_file({k: v * torch.nan for k, v in load_file(file).items()}, file)
        with pytest.raises(UserError, match=r"reducer\.safetensors: not all of .* are numbers"):
            tokendrop.load(folder)

    def test_a_torn_side_car(self, folder: Path) -> None:
        (folder / "reducer" / "config.json").write_text('{"reducer": {"cla')
        with pytest.raises(UserError, match="torn or not JSON"):
            tokendrop.load(folder)

    def test_a_head_that_was_never_trained(self, folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        save_file(
            {k: v for k, v in weights.items() if "classifier" not in k},
            folder / "model.safetensors",
        )
        with pytest.raises(UserError, match="lack 2 tensors"):
            tokendrop.load(folder)

    def test_a_configuration_that_grows(self, folder: Path) -> None:
        side_car = json.loads((folder / "reducer" / "config.json").read_text())
        side_car["reducer"]["init_args"]["configuration"] = [2, 4, 2]
        (folder / "reducer" / "config.json").write_text(json.dumps(side_car))
        with pytest.raises(UserError, match="grows from 2 to 4 in layer 2"):
            tokendrop.load(folder)

    def test_what_only_training_can_change(self, folder: Path) -> None:
        with pytest.raises(UserError, match="mass_weight cannot be changed on a trained PowerBert"):
            tokendrop.load(folder, mass_weight=1.0)


def test_an_operating_point_is_chosen_at_loading(tmp_path: Path) -> None:
    model_of(DactBert(halt_bias=-4.0)).save_pretrained(tmp_path / "model")
    lazy = tokendrop.load(tmp_path / "model", check_every=3)
    eager = tokendrop.load(tmp_path / "model").predict(TEXTS)
    assert {prediction.row_depth for prediction in lazy.predict(TEXTS)} == {3}
    assert max(prediction.row_depth for prediction in eager) < 3


@pytest.mark.parametrize("reducer", [DactBert(), Chain([Dense(), DactBert()])])
def test_what_would_not_be_saved_is_not_set_by_hand(reducer: Reducer) -> None:
    mine = next(part for part in model_of(reducer).modules() if isinstance(part, DactBert))
    with pytest.raises(UserError, match=r"DactBert.check_every of a model.*load\(.*check_every=3"):
        mine.check_every = 3


class TestOperatingPointsOfAChain:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        parts = [PowerBert(configuration=[9, 8, 7]), DactBert(halt_bias=-4.0)]
        model_of(Chain(parts)).save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    def test_a_part_is_changed_at_loading(self, folder: Path) -> None:
        lazy = tokendrop.load(folder, **{"parts.1.check_every": 3})
        assert {prediction.row_depth for prediction in lazy.predict(TEXTS)} == {3}
        assert lazy.reducer.operating_point["parts.1.check_every"] == 3
        lazy.save_pretrained(folder)
        assert tokendrop.load(folder).predict(TEXTS) == lazy.predict(TEXTS)

    @pytest.mark.parametrize("name", ["parts.0.configuration", "parts.7.exit_rule", "exit_rule"])
    def test_what_cannot_be_changed_is_named(self, folder: Path, name: str) -> None:
        with pytest.raises(UserError, match=rf"{name} cannot be changed.*parts\.1\.exit_rule"):
            tokendrop.load(folder, **{name: "tight"})


def test_a_change_to_a_part_that_is_not_there_is_named() -> None:
    spec = Chain([Dense(), DactBert()]).spec()
    changed = with_changes(spec, {"parts.1.tau": 0.5})
    assert from_spec(changed).parts[1].tau == 0.5
    assert spec["init_args"]["parts"][1]["init_args"]["tau"] == 5e-3
    for path in ("parts.2.tau", "parts.x.tau", "pieces.0.tau"):
        with pytest.raises(UserError, match=path):
            with_changes(spec, {path: 0.5})


def test_saving_replaces_the_old_model_only_when_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(Dense())
    model.save_pretrained(tmp_path / "model")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model.tokenizer, "save_pretrained", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        model.save_pretrained(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert tokendrop.load(tmp_path / "model").predict(TEXTS) == model.predict(TEXTS)
