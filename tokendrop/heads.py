"""Kinds of tasks, and what the heads of Hugging Face models for them read."""

from __future__ import annotations

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

Kind = Literal["classification", "regression", "token_classification", "question_answering"]

# the end of the name of Hugging Face's classes with such a head
SUFFIXES: dict[Kind, str] = {
    "classification": "ForSequenceClassification",
    "regression": "ForSequenceClassification",
    "token_classification": "ForTokenClassification",
    "question_answering": "ForQuestionAnswering",
}

# tasks that are answered for every token instead of once for a row
BY_TOKEN: frozenset[Kind] = frozenset({"token_classification", "question_answering"})


def kind_of(model: PreTrainedModel) -> Kind:
    """What a model's head is for; one output for a text is a regression."""
    config: Any = model.config
    name = type(model).__name__
    found = next((kind for kind, suffix in SUFFIXES.items() if name.endswith(suffix)), None)
    if found is None:
        raise TypeError(f"{name} has no head that is known here")
    return "regression" if found == "classification" and config.num_labels == 1 else found


def reads_tokens(model: PreTrainedModel) -> bool:
    """Whether the model's head reads the state of every token instead of [CLS]."""
    return kind_of(model) in BY_TOKEN


def mean_divergence(one: Tensor, other: Tensor) -> Tensor:
    """Mean KL(one || other) of (N, classes) logits over their rows."""
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    return F.kl_div(q, p, reduction="batchmean", log_target=True)
