"""One tag for each word of a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from tokendrop.data.entities import entities, is_iob
from tokendrop.data.lazy import Made
from tokendrop.data.names import not_one_word
from tokendrop.data.rows import Rows
from tokendrop.data.sources import Table
from tokendrop.data.split import IGNORED, Numbers, Sentence, Split
from tokendrop.data.tags import is_conll, read_conll, read_sentences
from tokendrop.data.tokens import Tokeniser
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.heads import TAG
from tokendrop.tasks.answers import Answer, Answering, Answers, Scores
from tokendrop.tasks.base import ClassWeights, Task
from tokendrop.tasks.resampling import Array, OfResamples, ratio


class TokenClassification(Task):
    """One tag for each word, read at the word's first token."""

    kind = "token_classification"
    head = TAG
    named = True
    options: ClassVar[frozenset[str]] = frozenset({"label_map"})
    metrics = ("entity_f1", "accuracy")
    text = ("tokens",)
    counts = (1,)
    label = "tags"

    def __init__(self, labels: list[str], metric: str = "entity_f1") -> None:
        """
        Args:
            labels: names of the tags.
            metric: what checkpoints are chosen by and methods are compared in. "entity_f1" needs
                tags of entities in IOB2 (B-PER, I-PER, O).

        Raises:
            UserError: "entity_f1" of tags that name no entities.
        """
        super().__init__(metric)
        if metric == "entity_f1" and not is_iob(labels):
            strange = next(label for label in labels if not is_iob([label]))
            raise UserError(
                f"tag {strange!r} is neither O nor B- or I- with a type, so there are no entities "
                "to score: use --model.metric accuracy, or write tags in IOB2, as B-PER and I-PER; "
                "where only their names differ, give these with data.label_map"
            )
        self.labels = labels
        self.outputs = len(labels)

    @classmethod
    def read_file(
        cls,
        path: str,
        text: Sequence[str],
        label: str,
        columns: Sequence[str] | None = None,
        folder: Path | None = None,
    ) -> Table:
        """The table of a file, which may be in the form of CoNLL."""
        if is_conll(path):
            return read_conll(path, text[0], label, folder)
        return super().read_file(path, text, label, columns, folder)

    @classmethod
    def read_rows(cls, table: Table, text: Sequence[str], label: str) -> Rows:
        return read_sentences(table, text, label)

    @classmethod
    def renamed(cls, rows: Rows, names: Mapping[str, str]) -> Rows:
        """The rows with other tags.

        Raises:
            UserError: one of them is no word, and answers have blanks between the tags.
        """
        if (odd := not_one_word(names.values())) is not None:
            raise UserError(
                f"label_map gives a tag the name {odd!r:.60}, but tags have blanks between them: "
                "give it a name without white space"
            )

        labels = Made(partial(_renamed, names=names), rows.labels)
        return replace(rows, labels=labels, names=[])

    @classmethod
    def tokenised(
        cls, rows: Rows, tokeniser: Tokeniser, labels: Sequence[str], doc_stride: int, what: str
    ) -> Split:
        """The rows with the tag of each word at its first token; other tokens are not scored."""
        number = {name: index for index, name in enumerate(labels)}
        tokens, words = tokeniser.words(Made(lambda one: one.words, rows.labels), what)
        tags: Sequence[list[int]] = []
        if rows.labels[0].tags:
            pairs = zip(rows.labels, words, strict=True)
            tags = Numbers.of(_scored_tags(sentence.tags, row, number) for sentence, row in pairs)
        return Split(
            rows.texts,
            tokens.input_ids,
            tokens.token_type_ids,
            tags,
            tokens.truncated,
            Made(_placed, rows.labels, words),
        )

    @classmethod
    def content(cls, split: Split) -> list[object]:
        assert split.sentences is not None
        words = Made(lambda sentence: [sentence.words, sentence.tags], split.sentences)
        return [*super().content(split), words]

    @classmethod
    def pose(
        cls,
        splits: Mapping[str, Split],
        labels: list[str],
        order: list[str],
        metric: str,
        class_weights: ClassWeights | None,
    ) -> TokenClassification:
        return cls(labels, metric)

    @classmethod
    def answering(cls, splits: Mapping[str, Split], doc_stride: int) -> Answering:
        return Answering(cls.kind, doc_stride)  # a tab stands between two words

    @classmethod
    def unlabelled_rows(cls, texts: list[tuple[str, ...]]) -> Rows:
        """Words have blanks, tabs or ends of lines between them; other white space is theirs."""
        sentences = [Sentence(re.findall(r"[^ \t\r\n]+", " ".join(text)), []) for text in texts]
        numbers = list(range(1, len(texts) + 1))
        return Rows([(" ".join(one.words),) for one in sentences], sentences, numbers, "texts")

    @classmethod
    def answers(cls, split: Split, labels: Sequence[str], answering: Answering) -> TagAnswers:
        return TagAnswers(labels, split)

    @classmethod
    def of_resamples(cls, metric: str, answers: pd.DataFrame) -> OfResamples:
        """Ratios of sums over sentences: of right words, or twice the entities hit."""
        above, below = [], []
        sides = (answers[column].str.split() for column in ("label", "tags"))
        for right, answered in zip(*sides, strict=True):
            if metric == "accuracy":
                above.append(sum(one == other for one, other in zip(right, answered, strict=True)))
                below.append(len(right))
            else:
                wanted, named = entities(right), entities(answered)
                above.append(2 * len(wanted & named))
                below.append(len(wanted) + len(named))
        sums = np.array([above, below], dtype=float).T

        def ratios(weights: Array) -> Array:
            found = weights @ sums
            return ratio(found[:, 0], found[:, 1])

        return ratios

    @classmethod
    def most_frequent(cls, metric: str, answers: pd.DataFrame) -> float:
        sentences = answers["label"].str.split()
        most = sentences.explode().mode()[0]
        always = answers.assign(tags=[" ".join([most] * len(tags)) for tags in sentences])
        return float(cls.of_resamples(metric, always)(np.ones((1, len(always))))[0])

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of (T, tags) logits over the scored tokens; 0 if there are none."""
        assert batch.labels is not None
        total = F.cross_entropy(logits, batch.labels, ignore_index=IGNORED, reduction="sum")
        return total / (batch.labels != IGNORED).sum().clamp_min(1)

    def loss_weight(self, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return (batch.labels != IGNORED).sum()

    def divergence_weight(self, batch: Batch) -> Tensor:
        return self.loss_weight(batch)

    def gold(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.labels is not None
        scored = batch.labels != IGNORED
        picked = logits.gather(1, batch.labels.where(scored, 0)[:, None]).squeeze(1)
        return picked.where(scored, 0).sum()

    def divergence(self, one: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """Mean KL(one || other) over the scored tokens."""
        assert batch.labels is not None
        p, q = one.log_softmax(-1), other.log_softmax(-1)
        each = F.kl_div(q, p, reduction="none", log_target=True).sum(-1)
        scored = batch.labels != IGNORED
        return each.where(scored, 0).sum() / scored.sum().clamp_min(1)

    def scores(self, split: Split) -> Scores:
        """Accuracy over words; precision, recall and F1 of entities where the tags are IOB2."""
        return TagScores(self.labels, split)


def _renamed(sentence: Sentence, names: Mapping[str, str]) -> Sentence:
    return replace(sentence, tags=[names[tag] for tag in sentence.tags])


def _placed(sentence: Sentence, row: Sequence[int]) -> Sentence:
    """A sentence with the places of its words in a row of tokens, each of which has its word."""
    first = _first_tokens(row)
    return replace(sentence, places=[first.get(word) for word in range(len(sentence.words))])


def _scored_tags(tags: Sequence[str], row: Sequence[int], number: Mapping[str, int]) -> list[int]:
    """Of each token of a row the number of its word's tag; only of the first one of each word."""
    scored = {place: number[tags[word]] for word, place in _first_tokens(row).items()}
    return [scored.get(place, IGNORED) for place in range(len(row))]


def _first_tokens(row: Sequence[int]) -> dict[int, int]:
    return {word: place for place, word in reversed(list(enumerate(row))) if word >= 0}


class TagAnswers(Answers[list[str]]):
    """The tags of the words of each sentence, from (T, tags) logits.

    A word without a token, cut off or dissolved by the tokenizer, is answered with O.
    """

    def __init__(self, labels: Sequence[str], split: Split) -> None:
        super().__init__()
        assert split.sentences is not None
        self.labels = labels
        self.sentences = split.sentences

    def update(self, logits: Tensor, batch: Batch) -> None:
        found = logits.argmax(-1).cpu().split(list(batch.layout.lengths))
        for number, row in zip(batch.numbers, found, strict=True):
            tags = row.tolist()
            self.found[number] = [
                "O" if place is None else self.labels[tags[place]]
                for place in self.sentences[number].places
            ]

    def __getitem__(self, example: int) -> Answer:
        return Answer(" ".join(self.found[example]), {}, example)


class TagScores(Scores):
    """Scores of (T, tags) logits, over all words of the sentences seen."""

    answers: TagAnswers

    def __init__(self, labels: list[str], split: Split) -> None:
        super().__init__(TagAnswers(labels, split))
        self.labels = labels
        self.sentences = self.answers.sentences

    def compute(self) -> dict[str, Tensor]:
        right = words = hits = named = wanted = 0
        for number, tags in self.answers.found.items():
            gold = self.sentences[number].tags
            right += sum(tag == other for tag, other in zip(tags, gold, strict=True))
            words += len(gold)
            answered, expected = entities(tags), entities(gold)
            hits += len(answered & expected)
            named += len(answered)
            wanted += len(expected)
        scores = {"accuracy": right / max(1, words)}
        if is_iob(self.labels):
            scores["entity_f1"] = 2 * hits / max(1, named + wanted)
            scores["entity_precision"] = hits / max(1, named)
            scores["entity_recall"] = hits / max(1, wanted)
        return {name: torch.tensor(value) for name, value in scores.items()}

    def examples(self) -> pd.DataFrame:
        """The right and the answered tags of each sentence, and whether all are right."""
        index = self.answers.index
        gold = [" ".join(self.sentences[number].tags) for number in index]
        found = [self.answers[number].label for number in index]
        score = [float(one == other) for one, other in zip(gold, found, strict=True)]
        return pd.DataFrame({"label": gold, "tags": found, "score": score}, index=index)
