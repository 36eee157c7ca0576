"""Folders as people have them: found under their names, or refused by what they are instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

import tokendrop
from tests.models.test_checkpoints import LABELS, reconfigured, refused, reweighted
from tests.models.test_model import TEXTS, model_of, tokenizer
from tokendrop.cli import main
from tokendrop.errors import UserError
from tokendrop.models.backbones import load_backbone
from tokendrop.reducers.dense import Dense
from tokendrop.testing.tiny import CONFIGS, tiny_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A plain Hugging Face classifier of three classes."""
    tiny_model("roberta", id2label=dict(enumerate(LABELS))).save_pretrained(tmp_path / "plain")
    tokenizer().save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


def to_bin(folder: Path, change: Callable[[bytes], bytes] = bytes, old: bool = False) -> None:
    """Weights as torch itself writes them, whole or changed."""
    weights, file = folder / "model.safetensors", folder / "pytorch_model.bin"
    torch.save(load_file(weights), file, _use_new_zipfile_serialization=not old)
    weights.unlink()
    file.write_bytes(change(file.read_bytes()))


def test_a_home_folder_is_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    wanted = tokendrop.load(folder).predict(TEXTS)
    assert tokendrop.load("~/plain").predict(TEXTS) == wanted
    assert load_backbone("~/plain", LABELS).config.id2label == dict(enumerate(LABELS))
    assert main(["predict", "--checkpoint=~/plain", TEXTS[0]]) == 0
    assert wanted[0].label in capsys.readouterr().out
    with pytest.raises(UserError, match="no model '~nobody/plain'"):
        tokendrop.load("~nobody/plain")


@pytest.mark.parametrize("whole", [False, True])
def test_an_adapter_is_no_model(folder: Path, whole: bool) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    if not whole:
        (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
        (folder / "config.json").unlink()
    refused(folder, r"holds an adapter of PEFT.*merge_and_unload\(\)")


def test_the_folder_around_or_inside_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    model_of(Dense()).save_pretrained(out / "checkpoint-500")
    refused(out / "checkpoint-500" / "reducer", "name the folder around it, .*checkpoint-500$")
    refused(out, r"no config\.json: its model is .*checkpoint-500$")
    model_of(Dense()).save_pretrained(out / "checkpoint-1000")
    refused(out, r"no config\.json: name one of .*checkpoint-1000, .*checkpoint-500$")
    with pytest.raises(UserError, match=r"config\.json is not a model folder but a file"):
        tokendrop.load(out / "checkpoint-500" / "config.json")
    for name in ("", " "):
        with pytest.raises(UserError, match=r"names no model: give its folder, \. for the current"):
            tokendrop.load(name)
    (tmp_path / "grid" / "runs").mkdir(parents=True)
    refused(tmp_path / "grid", "the OUT/model of a 'fit'")
    (tmp_path / "grid" / "runs" / "dense--default--own--seed1.json").touch()
    refused(tmp_path / "grid", "take one of a comparison by 'tokendrop choose .*grid --max-loss 1")


@pytest.mark.parametrize("old", [False, True])
def test_torn_weights_of_torch_are_named(folder: Path, old: bool) -> None:
    to_bin(folder, old=old)
    assert len(tokendrop.load(folder).predict(TEXTS)) == len(TEXTS)
    file = folder / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused(folder, r"pytorch_model\.bin is torn, or holds something else")


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "module"])
def test_a_checkpoint_of_a_training_is_told_from_weights(folder: Path, name: str) -> None:
    weights = folder / "model.safetensors"
    torch.save({"epoch": 3, name: load_file(weights)}, folder / "pytorch_model.bin")
    weights.unlink()
    refused(folder, f"hold '{name}': they are a checkpoint of a training.*save these alone")


def test_a_pickled_model_is_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model("roberta"), folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model\.bin is torn, or holds some") as error:
        tokendrop.load(folder)
    assert "weights_only" not in str(error.value)  # torch's own words say how to run what is in it


@pytest.mark.parametrize("name", ["model-00002-of-0000*.safetensors", "model.safetensors.index.*"])
def test_a_torn_shard_is_named(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    tiny_model("roberta", id2label=dict(enumerate(LABELS))).save_pretrained(
        folder, max_shard_size="20KB"
    )
    assert tokendrop.load(folder).labels == LABELS
    (file,) = folder.glob(name)
    file.write_bytes(file.read_bytes()[:60])
    refused(folder, f"{file.name} is torn, or holds something else")


@pytest.mark.parametrize("before", ["_orig_mod.", "net.module."])
@pytest.mark.parametrize("head", [True, False])
def test_names_from_inside_another_model(tmp_path: Path, before: str, head: bool) -> None:
    model = tiny_model("electra", num_labels=3)
    if not head:
        model = AutoModel.from_config(CONFIGS["electra"]())
    model.save_pretrained(tmp_path)
    reweighted(tmp_path, lambda found: {before + name: value for name, value in found.items()})
    with pytest.raises(UserError, match=f"all their names begin with '{before}'.*torch.compile"):
        load_backbone(str(tmp_path), ["LABEL_0", "LABEL_1", "LABEL_2"])


@pytest.mark.parametrize("code", [{}, {"auto_map": {"AutoConfig": "configuration.Own"}}])
def test_an_unknown_type_is_named_with_the_known_ones(
    folder: Path, code: dict[str, object]
) -> None:
    reconfigured(folder, model_type="neobert", **code)
    refused(folder, "cannot be run: backbones of type 'neobert' are not supported: choose .*mpnet")


@pytest.mark.parametrize("name", ["", " ", None])
def test_a_class_without_a_name_is_refused(folder: Path, name: str | None) -> None:
    config = json.loads((folder / "config.json").read_text())
    reconfigured(folder, id2label=config["id2label"] | {"1": name})
    refused(folder, "has no name for the class 1")


def test_a_file_without_the_mark_of_transformers_is_read(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    wanted = tokendrop.load(folder).predict(TEXTS)
    save_file(weights, folder / "model.safetensors")
    assert tokendrop.load(folder).predict(TEXTS) == wanted


def test_a_missing_shard_is_named(folder: Path) -> None:
    tiny_model("roberta").save_pretrained(folder, max_shard_size="20KB")
    lost = min(folder.glob("model-00002-*"))
    lost.unlink()
    (folder / "model.safetensors").unlink()
    refused(folder, f"has no {lost.name}, which model.safetensors.index.json names: restore")


def test_an_exported_model_is_told_by_its_files(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.onnx")
    refused(folder, r"exported model \(model\.onnx\).*name the model folder that it was made from")


def test_a_head_under_other_names_is_told_with_them(folder: Path) -> None:
    reweighted(folder, lambda found: {k.replace("classifier", "mine"): v for k, v in found.items()})
    with pytest.raises(UserError, match=r"e\.g\. classifier\.\S+, and hold others, e\.g\. mine\."):
        tokendrop.load(folder)


def test_a_class_of_its_own_beside_the_usual_name_is_read(folder: Path) -> None:
    reconfigured(folder, architectures=["Mine", "RobertaForSequenceClassification"])
    assert tokendrop.load(folder).labels == LABELS


def test_what_a_pass_gives_does_not_follow_the_files(tmp_path: Path) -> None:
    # Hugging Face's own model is timed beside the methods, and written for other engines
    tiny_model("modernbert").save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    said = {"return_dict": False, "output_hidden_states": True, "output_attentions": True}
    reconfigured(tmp_path, **said)
    found = tokendrop.load(tmp_path).backbone(torch.tensor([[5, 6, 7]]))
    assert list(found) == ["logits"]
