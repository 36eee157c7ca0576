"""Tiny random models of every family, rows for them, and what Hugging Face computes, padded."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from tokendrop.encoder import encode
from tokendrop.families import FAMILIES, family_of
from tokendrop.packed import Batch
from tokendrop.reducers.base import Reducer, Shape
from tokendrop.trace import Encoded

LAYERS, HIDDEN, HEADS, INTERMEDIATE, CLASSES = 3, 32, 4, 40, 3
MAX_TOKENS, VOCABULARY, FIRST_WORD = 32, 100, 5
LENGTHS = (1, 7, 2, 32, 12, 7, 2, 19, 12, 5)


def _bert() -> PretrainedConfig:
    return BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INTERMEDIATE,
        max_position_embeddings=MAX_TOKENS + 8,
        num_labels=CLASSES,  # type: ignore[call-arg]
    )


def _distilbert() -> PretrainedConfig:
    return DistilBertConfig(
        vocab_size=VOCABULARY,
        dim=HIDDEN,
        n_layers=LAYERS,
        n_heads=HEADS,
        hidden_dim=INTERMEDIATE,
        max_position_embeddings=MAX_TOKENS + 8,
        num_labels=CLASSES,  # type: ignore[call-arg]
    )


# one entry for each entry of tokendrop.families.FAMILIES
CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {"bert": _bert, "distilbert": _distilbert}


def tiny_model(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random classifier in evaluation mode, far from symmetric: no weight is 0 or 1."""
    if family not in CONFIGS:
        raise AssertionError(
            f"add a tiny configuration of {family!r} to CONFIGS in tokendrop/testing/tiny.py"
        )
    torch.manual_seed(seed)
    config = CONFIGS[family]()
    for name, value in changes.items():
        setattr(config, name, value)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def tiny_shape(**changes: int) -> Shape:
    sizes = {
        "layers": LAYERS,
        "hidden": HIDDEN,
        "heads": HEADS,
        "intermediate": INTERMEDIATE,
        "classes": CLASSES,
        "max_tokens": MAX_TOKENS,
    }
    return Shape(**(sizes | changes))


def built(reducer: Reducer, seed: int = 0, **changes: int) -> Reducer:
    """The reducer with weights for the tiny models, in evaluation mode."""
    torch.manual_seed(seed)
    reducer.build(tiny_shape(**changes))
    return reducer.eval()


@dataclass(frozen=True)
class Row:
    ids: list[int]
    types: list[int]
    label: int


def tiny_rows(lengths: Sequence[int] = LENGTHS, seed: int = 0) -> list[Row]:
    """Random rows, by default of 1 to MAX_TOKENS tokens, some equally long."""
    draw = random.Random(seed)
    rows = []
    for length in lengths:
        ids = [draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(length)]
        second = draw.randint(0, length)
        rows.append(Row(ids, [int(i >= second) for i in range(length)], draw.randrange(CLASSES)))
    return rows


def packed(rows: Sequence[Row]) -> Batch:
    return Batch.pack(
        [row.ids for row in rows],
        [row.types for row in rows],
        labels=[row.label for row in rows],
        examples=range(len(rows)),
    )


def run(model: PreTrainedModel, reducer: Reducer, rows: Sequence[Row]) -> Encoded:
    with torch.no_grad():
        return encode(model, packed(rows), reducer)


@torch.no_grad()
def padded_forward(model: PreTrainedModel, rows: Sequence[Row]) -> tuple[Tensor, list[Tensor]]:
    """Hugging Face's own padded pass: logits, and the packed states leaving each layer."""
    width = max(len(row.ids) for row in rows) + 2
    inputs = {
        "input_ids": _pad([row.ids for row in rows], width, model.config.pad_token_id or 0),
        "attention_mask": _pad([[1] * len(row.ids) for row in rows], width, 0),
    }
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = _pad([row.types for row in rows], width, 0)
    states: list[Tensor] = []
    real = inputs["attention_mask"].bool()
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: states.append(out[real]))
        for layer in family_of(model).layers(model)
    ]
    try:
        return model(**inputs).logits, states
    finally:
        for hook in hooks:
            hook.remove()


def _pad(rows: list[list[int]], width: int, fill: int) -> Tensor:
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


FAMILY_NAMES = sorted(FAMILIES)
