"""How a model with a tokenizer answers for texts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tokendrop.data.batching import Batches, consecutive
from tokendrop.data.names import names_by_id
from tokendrop.data.split import Split
from tokendrop.data.tokens import Tokeniser
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Trace
from tokendrop.models.prediction import (
    Prediction,
    Text,
    check_batch_size,
    check_several,
    checked,
    is_blank,
    parts_of,
    tokenised,
)
from tokendrop.reducers.base import Shape
from tokendrop.tasks import Answer, Answering, Answers, kind_named

CHUNK = 1000  # texts in memory where there are any number of them

log = logging.getLogger(__name__)


class AnsweringModel(nn.Module):
    """A model that runs packed batches, and knows how its answers are read.

    Attributes:
        backbone: a model of a supported family with a head.
        tokenizer: the backbone's.
        answering: how its answers were scored.
        shape: the backbone's sizes, and the longest row.
    """

    backbone: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    answering: Answering
    shape: Shape

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits."""
        return names_by_id(self.backbone.config)

    @torch.inference_mode()
    def predict(self, texts: Sequence[Text], batch_size: int = 32) -> list[Prediction]:
        """Answer for texts, or pairs of texts.

        Args:
            texts: one string or a pair of strings each, for answering a question and its context;
                longer ones are cut to ``max_length``, contexts into windows. A tagger's text has
                blanks between its words.
            batch_size: rows at a time; no answer depends on it.

        Returns:
            the answers in the order of the texts; one has the label "" where the numbers of the
            model are not finite, which is said.

        Raises:
            UserError: a text is empty or none, or a question has no context; no batch size.
        """
        check_batch_size(batch_size)
        parts = checked(texts, kind_named(self.answering.kind))
        found, cut = self._answered(parts, batch_size)
        self._say_what_was_cut(cut, len(parts))
        self._say_what_was_unlike(self._unlike(parts), len(parts))
        return found

    def predict_each(
        self, texts: Iterable[Text], batch_size: int = 32, *, first: int = 1
    ) -> Iterator[Prediction | None]:
        """Answer for any number of texts, in their order; memory holds a thousand at a time.

        Args:
            texts: as in :meth:`predict`.
            batch_size: rows at a time; no answer depends on it.
            first: number of the first text, by which errors name them.

        Yields:
            None for a text that is empty.

        Raises:
            UserError: one text instead of several; a question has no context, or a text more than
                two parts; no batch size.
        """
        check_several(texts, Iterable, "predict_each")
        check_batch_size(batch_size)
        kind = kind_named(self.answering.kind)
        numbered, answered, cut, unlike = enumerate(texts, start=first), 0, 0, 0
        while chunk := list(islice(numbered, CHUNK)):
            asked = [(number, text) for number, text in chunk if not is_blank(text)]
            parts = [parts_of(text, kind, f"text {number}") for number, text in asked]
            with torch.inference_mode():
                found, of_them = self._answered(parts, batch_size)
            answered, cut = answered + len(found), cut + of_them
            unlike += self._unlike(parts)
            answers = iter(found)
            yield from (None if is_blank(text) else next(answers) for _, text in chunk)
        self._say_what_was_cut(cut, answered)
        self._say_what_was_unlike(unlike, answered)

    def _say_what_was_cut(self, cut: int, of: int) -> None:
        if cut:
            limit = self.shape.max_tokens
            log.warning("%d of %d texts were cut to %d tokens", cut, of, limit)

    def _unlike(self, parts: Sequence[tuple[str, ...]]) -> int:
        """How many are pairs where the model learned from single texts, or the other way round."""
        learned = self.answering.parts
        return sum(learned not in (None, len(text)) for text in parts)

    def _say_what_was_unlike(self, unlike: int, of: int) -> None:
        if unlike and self.answering.parts == 1:
            log.warning(
                "%d of %d texts are pairs, and this model learned from single texts: join their "
                "parts, which a tab or a second column tells apart",
                *(unlike, of),
            )
        elif unlike:
            log.warning(
                "%d of %d texts are single, and this model learned from pairs: give both parts, "
                "with a tab between them or as a second column",
                *(unlike, of),
            )

    def _answered(
        self, parts: Sequence[tuple[str, ...]], batch_size: int
    ) -> tuple[list[Prediction], int]:
        """Answers for checked texts, and how many of them were cut."""
        kind = kind_named(self.answering.kind)
        tokeniser = Tokeniser(self.tokenizer, self.shape.max_tokens)
        splits = list(tokenised(parts, kind, tokeniser, self.labels, self.answering))
        self.eval()
        found: dict[int, Prediction] = {}
        for numbers, split in splits:
            answers = kind.answers(split, self.labels, self.answering)
            found.update(zip(numbers, self._predictions(split, answers, batch_size), strict=True))
        cut = sum(split.truncated for _, split in splits)
        return [found[number] for number in range(len(parts))], cut

    def _predictions(
        self, split: Split, answers: Answers[Any], batch_size: int
    ) -> Iterator[Prediction]:
        """Predictions for the examples of a split; of several rows that which was answered from."""
        batches = Batches(split, self._cut(split.lengths, batch_size))
        depths: dict[int, list[int]] = {}
        leaving: dict[int, int] = {}
        broken: set[int] = set()
        for batch in batches:
            batch = batch.to(self.backbone.device)
            assert batch.examples is not None
            logits, trace = self._run(batch)
            answers.update(logits, batch)
            rows = batch.examples.tolist()
            finite = _finite(logits, list(batch.layout.lengths))
            broken.update(row for row, fine in zip(rows, finite, strict=True) if not fine)
            if trace is not None:
                of_rows = trace.token_depth().split(list(batch.layout.lengths))
                depths.update(zip(rows, (depth.tolist() for depth in of_rows), strict=True))
                leaving.update(zip(rows, trace.row_depth().tolist(), strict=True))
        if broken:
            log.warning(
                "%d of %d rows have no answer, for the model's numbers are not finite there: are "
                "all of its weights?",
                *(len(broken), len(split)),
            )
        for example in answers.index:
            answer = answers[example]
            if answer.row in broken:
                answer = Answer("", {}, answer.row)
            tokens: Any = self.tokenizer.convert_ids_to_tokens(split.input_ids[answer.row])
            yield Prediction(
                answer.label,
                answer.probabilities,
                tokens,
                depths.get(answer.row, []),
                leaving.get(answer.row, 0),
                self.shape.layers,
                answer.value,
            )

    def _run(self, batch: Batch) -> tuple[Tensor, Trace | None]:
        """Logits of a batch, and what was alive where, if that is known."""
        encoded = self(batch)
        return encoded.logits, encoded.trace

    def _cut(self, lengths: Sequence[int], batch_size: int) -> Sequence[Sequence[int]]:
        """The rows of each batch, of rows of these lengths."""
        return consecutive(len(lengths), batch_size)


def _finite(logits: Tensor, lengths: list[int]) -> list[bool]:
    """For each row of a batch whether its logits are finite."""
    finite = logits.isfinite().all(1)
    if len(finite) == len(lengths):  # one for each row; else for each token
        return list(finite.tolist())
    return [bool(row.all()) for row in finite.cpu().split(lengths)]
