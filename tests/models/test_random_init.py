"""Random weights of an architecture: what may be changed of it, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tokendrop.errors import UserError
from tokendrop.models.backbones import load_backbone, load_config
from tokendrop.testing.tiny import CONFIGS, HEADS, LAYERS


def folder_of(family: str, folder: Path) -> str:
    CONFIGS[family]().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"num_hidden_layerz": 2},
            "unknown setting of random_init 'num_hidden_layerz': did you mean 'num_hidden_layers'?",
        ),
        # which the task decides
        ({"num_labels": 7}, "unknown setting of random_init 'num_labels': "),
        (
            {"num_hidden_layers": 0},
            "random_init.num_hidden_layers 0 is too small: use a whole number, 1 or more",
        ),
        (
            {"hidden_size": "wide"},
            "random_init.hidden_size 'wide' cannot be used: use a whole number, 1 or more",
        ),
        (
            {"hidden_size": 30, "num_attention_heads": 4},
            "random_init {'hidden_size': 30, 'num_attention_heads': 4} gives no bert model: The "
            "hidden size (30) is not a multiple of the number of attention heads (4); correct",
        ),
        (
            {"classifier_dropout": 3.0},
            "random_init {'classifier_dropout': 3.0} gives no bert model: dropout probability",
        ),
        (
            {"layer_norm_eps": "small"},
            "random_init {'layer_norm_eps': 'small'} gives no bert model: Validation error for",
        ),
        (
            {"hidden_act": "swoosh"},
            "random_init {'hidden_act': 'swoosh'} gives no bert model: there is no 'swoosh'",
        ),
    ],
)
def test_what_cannot_be_drawn(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    name = folder_of("bert", tmp_path)
    for read in (load_config, load_backbone):
        with pytest.raises(UserError, match=f"^{re.escape(said)}") as found:
            read(name, ["bad", "good"], changes)
        assert "\n" not in str(found.value)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_architecture_takes_its_sizes(family: str, tmp_path: Path) -> None:
    changes = {"num_hidden_layers": LAYERS - 1, "hidden_size": 2 * HEADS, "pad_token_id": 0}
    model = load_backbone(folder_of(family, tmp_path), ["bad", "good"], changes)
    assert {name: getattr(model.config, name) for name in changes} == changes
    assert model.config.num_labels == 2


def test_a_size_that_the_architecture_calls_otherwise(tmp_path: Path) -> None:
    name = folder_of("distilbert", tmp_path)
    with pytest.raises(UserError, match=r"random_init 'intermediate_size'.* hidden_dim,"):
        load_config(name, ["bad", "good"], {"intermediate_size": 8})
    assert load_backbone(name, ["bad"], {"hidden_dim": 8}).config.hidden_dim == 8
