"""A checkpoint is what it says, or is refused by what is wrong with which file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification

import tokendrop
from tests.models.test_model import TEXTS, WORDS, model_of, tokenizer
from tokendrop.errors import UserError
from tokendrop.families import FAMILIES
from tokendrop.models.backbones import load_backbone, load_tokenizer, pretrained_pooler
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.dense import Dense
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import CONFIGS, tiny_model

LABELS = ["bad", "fair", "good"]
Weights = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plain Hugging Face classifier of three classes."""
    tiny_model("bert", id2label=dict(enumerate(LABELS))).save_pretrained(tmp_path / "plain")
    tokenizer().save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


def reweighted(folder: Path, change: Callable[[Weights], Weights]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def reconfigured(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(folder: Path, match: str) -> None:
    """Both as a finished model and as the start of a training."""
    for read in (
        lambda: tokendrop.load(folder),
        lambda: (load_tokenizer(str(folder)), load_backbone(str(folder), LABELS)),
    ):
        with pytest.raises(UserError, match=match) as error:
            read()
        assert "\n" not in str(error.value)
        assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda w: {f"module.{name}": value for name, value in w.items()},
            r"lack \d+ tensors of the encoder.*begin with 'module\.'",
        ),
        (
            lambda w: {k.replace("bert.encoder.layer", "transformer.h"): v for k, v in w.items()},
            r"lack 48 tensors of the encoder.*hold others, e\.g\. transformer\.h",
        ),
        (
            lambda w: {k: v for k, v in w.items() if "layer.1.output.dense" not in k},
            r"lack 2 tensors of the encoder, e\.g\. bert\.encoder\.layer\.1.*restore the whole",
        ),
        (
            lambda w: {k: v for k, v in w.items() if "word_embeddings" not in k},
            r"lack 1 tensors of the encoder, e\.g\. bert\.embeddings\.word_embeddings",
        ),
        (
            lambda w: w | {"bert.encoder.layer.3.output.dense.bias": torch.zeros(32)},
            r"hold 1 tensors of layers that its config\.json does not have",
        ),
        (
            lambda w: w | {"bert.embeddings.word_embeddings.weight": torch.zeros(120, 32)},
            r"word_embeddings\.weight is 120 x 32 and should be 100 x 32",
        ),
        (
            lambda w: w | {"classifier.weight": torch.zeros(5, 32)},
            r"classifier\.weight is 5 x 32 and should be 3 x 32",
        ),
        (lambda w: {k: v for k, v in w.items() if "classifier" not in k}, "lack 2 tensors"),
        (lambda w: {}, "lack"),
    ],
)
def test_weights_that_do_not_fit(
    folder: Path, change: Callable[[Weights], Weights], match: str
) -> None:
    reweighted(folder, change)
    refused(folder, match)


@pytest.mark.parametrize("size", [0, 5, 300, 20_000])
def test_weights_that_are_cut_off(folder: Path, size: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    refused(folder, "cannot load a model from the folder")


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(folder, r"no file named model\.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_in_place_of_a_file(folder: Path, name: str) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n"
    (folder / name).write_text(pointer)
    refused(folder, rf"{name} is a pointer of Git LFS.*git lfs pull")


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_another_architecture(family: str, tmp_path: Path) -> None:
    other = "distilbert" if family != "distilbert" else "electra"
    tiny_model(other).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    described = CONFIGS[family]()
    described.architectures = [type(tiny_model(family)).__name__]
    described.save_pretrained(tmp_path)
    refused(tmp_path, "of the encoder.*hold others|should be")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hidden_size": "32"}, "hidden_size"),
        ({"id2label": ["bad", "fair", "good"]}, r"has \['bad', 'fair', 'good'\] under id2label"),
        ({"id2label": {"bad": 0, "good": 1}}, "under id2label and not the names of .* by number"),
        ({"num_attention_heads": 5}, "cannot load a model"),
        ({"num_attention_heads": -4}, "has num_attention_heads -4, of which there is 1 at least"),
        ({"num_hidden_layers": -1}, "has num_hidden_layers -1, of which there is 1 at least"),
        ({"max_position_embeddings": 0}, "has max_position_embeddings 0, of which there is 1"),
        ({"num_hidden_layers": 2}, "layers that its config"),
        ({"vocab_size": 90}, "100 x 32 and should be 90 x 32"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "are quantised"),
        ({"architectures": [1]}, r"has \[1\] under architectures and not a list of names"),
        ({"architectures": "BertModel"}, "'BertModel' under architectures and not a list of names"),
    ],
)
def test_a_configuration_that_does_not_fit(
    folder: Path, changes: dict[str, Any], match: str
) -> None:
    reconfigured(folder, **changes)
    refused(folder, match)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"model_type": "no-such-type"}'])
def test_a_configuration_that_is_none(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    refused(folder, "cannot load a|not supported")


@pytest.mark.parametrize("architectures", [None, [], ["BertForMaskedLM"], ["BertModel"]])
def test_only_a_finished_head_answers(folder: Path, architectures: list[str] | None) -> None:
    reconfigured(folder, architectures=architectures)
    with pytest.raises(UserError, match="no model with a head that can answer"):
        tokendrop.load(folder)


class TestTokenizers:
    def test_no_vocabulary(self, folder: Path) -> None:
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            (folder / name).unlink(missing_ok=True)
        refused(folder, "knows no words.*vocabulary is missing|cannot load a tokenizer")

    @pytest.mark.parametrize("content", ["", '{"version": "1.0", "mod', "[]", "{}"])
    def test_a_torn_one(self, folder: Path, content: str) -> None:
        (folder / "tokenizer.json").write_text(content)
        refused(folder, "cannot load a tokenizer")

    def test_a_slow_one(self, folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]))
        described = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic"}
        (folder / "tokenizer_config.json").write_text(json.dumps(described))
        refused(folder, "BertJapaneseTokenizer, which has no fast version")

    def test_ids_beyond_the_embeddings(self, folder: Path) -> None:
        more = tokenizer()
        more.add_tokens([f"new{number}" for number in range(100)])
        more.save_pretrained(folder)
        with pytest.raises(UserError, match=r"ids up to 115 .* embeddings for 100 only"):
            tokendrop.load(folder)


class TestStarts:
    """What a training may begin with."""

    def test_a_pretrained_encoder_gets_a_head_and_it_is_said_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "tokendrop")
        encoder = AutoModelForMaskedLM.from_config(CONFIGS["bert"]())
        encoder.save_pretrained(tmp_path)
        for _ in range(2):
            model = load_backbone(str(tmp_path), ["no", "yes"])
        assert model.config.num_labels == 2
        (said,) = [r.message for r in caplog.records if str(tmp_path) in r.message]
        assert "classifier.bias" in said
        assert "encoder.layer" not in said
        weights = encoder.base_model.state_dict()
        for name, value in model.base_model.state_dict().items():
            assert "pooler" in name or torch.equal(value, weights[name])

    @pytest.mark.parametrize("family", ["bert", "albert", "distilbert", "modernbert"])
    def test_the_pooler_is_the_encoders_own_or_none(self, family: str, tmp_path: Path) -> None:
        encoder = AutoModel.from_config(CONFIGS[family]())
        encoder.save_pretrained(tmp_path)
        found = pretrained_pooler(str(tmp_path))
        if family in ("distilbert", "modernbert"):
            assert found is None
            return
        own = encoder.pooler.dense if family == "bert" else encoder.pooler
        assert found is not None
        assert torch.equal(found[0], own.weight)
        assert torch.equal(found[1], own.bias)
        assert pretrained_pooler(str(tmp_path), {"num_hidden_layers": 1}) is None
        # one that was never trained is none
        weights = {k: v for k, v in encoder.state_dict().items() if "pooler" not in k}
        encoder.save_pretrained(tmp_path, state_dict=weights)
        assert pretrained_pooler(str(tmp_path)) is None

    @pytest.mark.parametrize("classes", [2, 9])
    def test_a_head_for_something_else_is_not_taken_over(
        self, classes: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "tokendrop")
        config = CONFIGS["bert"]()
        config.num_labels = classes
        tagger = AutoModelForTokenClassification.from_config(config)
        # said once for each checkpoint, hence a name of its own
        folder = tmp_path / f"tagger{classes}"
        tagger.save_pretrained(folder)
        model = load_backbone(str(folder), ["no", "yes"])
        assert model.classifier.weight.shape == (2, 32)
        # of two tags it has the size of a classifier's, and would be a start nobody asked for
        assert not torch.equal(model.classifier.weight, tagger.classifier.weight[:2])
        assert "classifier.weight" in caplog.text
        assert "bert.pooler.dense.weight" in caplog.text
        for name, value in tagger.bert.state_dict().items():
            assert torch.equal(model.bert.state_dict()[name], value)


class TestSideCars:
    @pytest.fixture
    def trained(self, tmp_path: Path) -> Path:
        model_of(Chain([PowerBert(configuration=[6, 4, 2]), DactBert()])).save_pretrained(
            tmp_path / "model"
        )
        # as of people who change weights and say so
        (tmp_path / "model" / "SHA256SUMS").unlink()
        return tmp_path / "model"

    def test_no_weights_of_the_reducer(self, trained: Path) -> None:
        (trained / "reducer" / "reducer.safetensors").unlink()
        with pytest.raises(UserError, match=r"reducer\.safetensors is missing, the weights of Ch"):
            tokendrop.load(trained)

    def test_a_reducer_without_weights_needs_none(self, tmp_path: Path) -> None:
        model_of(Dense()).save_pretrained(tmp_path / "model")
        (tmp_path / "model" / "reducer" / "reducer.safetensors").unlink()
        assert len(tokendrop.load(tmp_path / "model").predict(TEXTS)) == len(TEXTS)

    def test_parts_that_do_not_exist(self, trained: Path) -> None:
        file = trained / "reducer" / "reducer.safetensors"
        save_file(load_file(file) | {"_extra_state": torch.tensor([0, 7])}, file)
        with pytest.raises(UserError, match="do not fit Chain"):
            tokendrop.load(trained)

    def test_no_description(self, trained: Path) -> None:
        (trained / "reducer" / "config.json").unlink()
        with pytest.raises(UserError, match=r"cannot read .*reducer.config\.json"):
            tokendrop.load(trained)

    @pytest.mark.parametrize(
        "content", ["[]", "null", "{}", '{"reducer": []}', '{"reducer": {"max_length": 3}}',
                    '{"reducer": {"class_path": "Dense"}, "max_length": "12"}',
                    '{"reducer": {"class_path": "Dense"}, "max_length": -7}',
                    '{"reducer": {"class_path": "Dense"}, "max_length": 0}', "[" * 100_000]
    )  # fmt: skip
    def test_a_description_of_nothing(self, trained: Path, content: str) -> None:
        (trained / "reducer" / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"describe|description|max_length") as error:
            tokendrop.load(trained)
        assert len(str(error.value)) < 500


def test_weights_stored_in_half_precision_are_trained_in_fp32(folder: Path) -> None:
    reweighted(folder, lambda found: {name: weight.half() for name, weight in found.items()})
    reconfigured(folder, dtype="float16")
    for model in (load_backbone(str(folder), LABELS), tokendrop.load(folder).backbone):
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
