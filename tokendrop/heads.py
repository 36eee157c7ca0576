"""Heads of Hugging Face models: what they read, and what one of their answers is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from tokendrop.errors import UserError

Output = Literal["class", "number", "tag", "span"]


@dataclass(frozen=True)
class Head:
    """A head as a kind of task uses it.

    Attributes:
        output: what it answers with: a class or a number for each row, a class for each token
            ("tag"), or the first and the last token of a row's answer ("span").
        suffix: the end of the name of Hugging Face's classes with such a head.
        auto: the class that makes them.
        pipeline: what the Hugging Face Hub calls a model with such a head.
        title: the same in a sentence.
        reads_tokens: whether it reads the state of every token instead of [CLS]. It then answers
            with logits (T, outputs) in the order of the packed batch, instead of (B, outputs).
    """

    output: Output
    suffix: str
    auto: Any
    pipeline: str
    title: str
    reads_tokens: bool


CLASS = Head(
    "class",
    "ForSequenceClassification",
    AutoModelForSequenceClassification,
    "text-classification",
    "text classifier",
    False,
)
NUMBER = replace(CLASS, output="number", title="regression model for texts")
TAG = Head(
    "tag",
    "ForTokenClassification",
    AutoModelForTokenClassification,
    "token-classification",
    "tagger of words",
    True,
)
SPAN = Head(
    "span",
    "ForQuestionAnswering",
    AutoModelForQuestionAnswering,
    "question-answering",
    "reader that finds answers in a context",
    True,
)

HEADS = (CLASS, NUMBER, TAG, SPAN)


def head_of(model: PreTrainedModel) -> Head:
    """A model's head; one output for a text is a number.

    Raises:
        UserError: it has none that is known here.
    """
    config: Any = model.config
    name = type(model).__name__
    found = next((head for head in HEADS if name.endswith(head.suffix)), None)
    if found is None:
        known = ", ".join(head.auto.__name__ for head in (CLASS, TAG, SPAN))
        raise UserError(f"a {name} has no head that is known here: load it by one of {known}")
    return NUMBER if found is CLASS and config.num_labels == 1 else found


def reads_tokens(model: PreTrainedModel) -> bool:
    """Whether the model's head reads the state of every token instead of [CLS]."""
    return head_of(model).reads_tokens


def mean_divergence(one: Tensor, other: Tensor) -> Tensor:
    """Mean KL(one || other) of (N, classes) logits over their rows."""
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    return F.kl_div(q, p, reduction="batchmean", log_target=True)
