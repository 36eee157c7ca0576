"""What is timed: random models of well-known sizes, and rows of well-known lengths."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, PreTrainedModel

MODEL_SHAPES: dict[str, dict[str, int]] = {
    "minilm-l6": {
        "num_hidden_layers": 6,
        "hidden_size": 384,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
    "bert-base": {},
}

# fewest and most tokens of a row, special tokens included
LENGTH_MIXES = {"short": (5, 60), "medium": (60, 128), "long": (128, 512), "all_128": (128, 128)}

WORDS = 2000  # of the vocabulary; a look-up costs the same in a larger one


def random_model(
    name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """A BERT classifier of this shape with random weights, for inference."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = MODEL_SHAPES[name]
    model = BertForSequenceClassification(BertConfig(vocab_size=WORDS, **sizes)).eval()
    nn.Module.to(model, device, dtype)
    return model


def random_rows(mix: str, count: int, words: int = WORDS) -> list[list[int]]:
    """So many rows of random token ids below ``words``, their lengths uniform in the mix."""
    draw = random.Random(0)
    fewest, most = LENGTH_MIXES[mix]
    return [
        [draw.randrange(5, words) for _ in range(draw.randint(fewest, most))] for _ in range(count)
    ]
