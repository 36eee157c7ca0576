"""What a model answers for one text, read from its logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Encoding
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tokendrop.errors import UserError
from tokendrop.heads import Kind
from tokendrop.tasks.question_answering import best_span
from tokendrop.tasks.token_classification import words_of_tokens

Text = str | tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """The answer for one text.

    Attributes:
        label: name of the most probable class; a number; the tags of the words, with blanks
            between them; or the answer to a question, in the words of its context.
        probabilities: by class name; empty where the answer is no class.
        tokens: the text as the model saw it, special tokens included.
        token_depth: for each token, the layers it went through; 0 if dropped in the first.
        row_depth: layers after which the row left.
        layers: layers of the backbone.
    """

    label: str
    probabilities: dict[str, float]
    tokens: list[str]
    token_depth: list[int]
    row_depth: int
    layers: int


def checked(texts: Sequence[Text], kind: Kind) -> list[tuple[str, ...]]:
    """The parts of each text.

    Raises:
        UserError: one text instead of a list, an empty text, or a question without its context.
    """
    if isinstance(texts, str):
        raise UserError(f"predict takes a list of texts, not one text: predict([{texts!r}])")
    parts = [text if isinstance(text, tuple) else (text,) for text in texts]
    for number, text in enumerate(parts, start=1):
        if not any(part.strip() for part in text):
            raise UserError(f"text {number} of {len(parts)} is empty: leave it out")
        if kind == "question_answering" and (len(text) != 2 or not text[1].strip()):
            raise UserError(
                f"text {number} of {len(parts)} is a question without a context to find the answer "
                "in: give pairs, (question, context)"
            )
    return parts


def tokenised(
    tokenizer: PreTrainedTokenizerBase, text: tuple[str, ...], kind: Kind, limit: int
) -> Encoding:
    """Token ids of a text as the data module makes them, cut to ``limit``."""
    maker: Any = tokenizer
    if kind == "token_classification":
        text = (_words(text),)
    cut = "only_second" if kind == "question_answering" else True
    return maker(*text, truncation=cut, max_length=limit).encodings[0]


def _words(text: tuple[str, ...]) -> str:
    """The words of a text with one blank between them."""
    return " ".join(" ".join(text).split())


def answer(
    logits: Tensor, row: Encoding, text: tuple[str, ...], kind: Kind, labels: Sequence[str]
) -> tuple[str, dict[str, float]]:
    """The answer for a text, and the probabilities of the classes if it is one.

    Args:
        logits: (classes,) of the text, or (tokens, outputs) of its tokens.
        row: its tokens.
        text: its parts.
        kind: of the task.
        labels: class names.
    """
    if kind == "regression":
        return f"{float(logits[0]):.3f}", {}
    if kind == "question_answering":
        offsets = np.array(row.offsets)
        context = np.array([part == 1 for part in row.sequence_ids]) & (offsets[:, 1] > 0)
        if not context.any():
            return "", {}
        start, end = logits.cpu().numpy().T
        first, last, _ = best_span(start, end, context)
        return text[1][offsets[first, 0] : offsets[last, 1]], {}
    if kind == "token_classification":
        words = _words(text).split(" ")
        owners = words_of_tokens(words, row, 0)
        firsts = {word: place for place, word in reversed(list(enumerate(owners)))}
        best = logits.argmax(-1).tolist()
        # words that were cut off are no entities
        tags = [labels[best[firsts[n]]] if n in firsts else "O" for n in range(len(words))]
        return " ".join(tags), {}
    by_name = dict(zip(labels, logits.softmax(-1).tolist(), strict=True))
    return max(by_name, key=by_name.__getitem__), by_name
