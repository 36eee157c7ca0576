"""Tiny random models of every family, rows for them, and what Hugging Face computes, padded."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    XLMRobertaConfig,
)

from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded
from tokendrop.families import FAMILIES, family_of
from tokendrop.reducers.base import Reducer, Shape
from tokendrop.tasks import kind_named

LAYERS, HIDDEN, HEADS, INTERMEDIATE, CLASSES = 3, 32, 4, 40, 3
MAX_TOKENS, VOCABULARY, FIRST_WORD = 32, 100, 5
LENGTHS = (1, 7, 2, 32, 12, 7, 2, 19, 12, 5)


SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INTERMEDIATE,
    "max_position_embeddings": MAX_TOKENS + 8,
    "num_labels": CLASSES,
}


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


def _albert() -> PretrainedConfig:
    # the first two layers share their weights
    dropouts: dict[str, Any] = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    return AlbertConfig(**SIZES, **dropouts, embedding_size=12, num_hidden_groups=2)


def _modernbert() -> PretrainedConfig:
    # one layer that sees everything, and two that see 6 tokens to either side
    return ModernBertConfig(
        **SIZES,
        local_attention=12,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
        norm_bias=True,
        embedding_dropout=0.1,
        attention_dropout=0.1,
        mlp_dropout=0.1,
        classifier_dropout=0.1,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 160.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
        },
    )


# one entry for each entry of tokendrop.families.FAMILIES
CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "albert": _albert,
    "bert": lambda: BertConfig(**SIZES),
    "camembert": lambda: CamembertConfig(**SIZES, type_vocab_size=1),
    "distilbert": _distilbert,
    "electra": lambda: ElectraConfig(**SIZES, embedding_size=12),
    "modernbert": _modernbert,
    "mpnet": lambda: MPNetConfig(**SIZES),
    "roberta": lambda: RobertaConfig(**SIZES, type_vocab_size=1),
    "xlm-roberta": lambda: XLMRobertaConfig(**SIZES, type_vocab_size=1),
}


def tiny_model(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A random classifier in evaluation mode, far from symmetric: no weight is 0 or 1."""
    if family not in CONFIGS:
        raise AssertionError(
            f"add a tiny configuration of {family!r} to CONFIGS in tokendrop/testing/tiny.py"
        )
    torch.default_generator.manual_seed(seed)
    config = CONFIGS[family]()
    for name, value in changes.items():
        setattr(config, name, value)
    return randomised(AutoModelForSequenceClassification.from_config(config))


def randomised(model: PreTrainedModel) -> PreTrainedModel:
    """The model in evaluation mode with weights that are far from symmetric."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def tiny_shape(task: str = "classification", **changes: Any) -> Shape:
    """The sizes of the tiny models, with the head of a kind of task."""
    sizes: dict[str, Any] = {
        "layers": LAYERS,
        "hidden": HIDDEN,
        "heads": HEADS,
        "intermediate": INTERMEDIATE,
        "classes": CLASSES,
        "max_tokens": MAX_TOKENS,
    }
    return Shape(**(sizes | changes), task=task, head=kind_named(task).head)


def built(reducer: Reducer, seed: int = 0, **changes: Any) -> Reducer:
    """The reducer with weights for the tiny models, in evaluation mode."""
    torch.default_generator.manual_seed(seed)
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


def packed(rows: Sequence[Row], examples: Sequence[int] | None = None) -> Batch:
    return Batch.pack(
        [row.ids for row in rows],
        [row.types for row in rows],
        labels=[row.label for row in rows],
        examples=range(len(rows)) if examples is None else examples,
    )


def run(model: PreTrainedModel, reducer: Reducer, rows: Sequence[Row]) -> Encoded:
    """A pass on the model's device, to which the reducer is moved."""
    with torch.no_grad():
        return encode(model, packed(rows).to(model.device), reducer.to(model.device))


def padded_inputs(
    model: PreTrainedModel, rows: Sequence[Row], room: int = 2
) -> tuple[dict[str, Tensor], Tensor]:
    """The arguments of Hugging Face's own model, and a mask of the (rows, width) real tokens."""
    width = max(len(row.ids) for row in rows) + room
    inputs = {
        "input_ids": _pad([row.ids for row in rows], width, model.config.pad_token_id or 0),
        "attention_mask": _pad([[1] * len(row.ids) for row in rows], width, 0),
    }
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = _pad([row.types for row in rows], width, 0)
    inputs = {name: values.to(model.device) for name, values in inputs.items()}
    return inputs, inputs["attention_mask"].bool()


@torch.no_grad()
def padded_forward(
    model: PreTrainedModel, rows: Sequence[Row], room: int = 2
) -> tuple[Tensor, list[Tensor]]:
    """Hugging Face's own padded pass: logits, and the packed states leaving each layer."""
    inputs, real = padded_inputs(model, rows, room)
    states: list[Tensor] = []
    hooks = [
        # MPNet's layers return a tuple
        layer.register_forward_hook(
            lambda _m, _i, out: states.append((out[0] if isinstance(out, tuple) else out)[real])
        )
        for layer in dict.fromkeys(family_of(model).layers(model))  # shared ones once
    ]
    try:
        return model(**inputs).logits, states
    finally:
        for hook in hooks:
            hook.remove()


def _pad(rows: list[list[int]], width: int, fill: int) -> Tensor:
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


# one architecture of each family
FAMILY_NAMES = sorted({family: name for name, family in reversed(FAMILIES.items())}.values())
