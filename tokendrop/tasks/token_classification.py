"""One tag for each word of a sentence."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar

import pandas as pd
import torch
import torch.nn.functional as F
from tokenizers import Encoding
from torch import Tensor

from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.heads import Kind
from tokendrop.tasks.base import IGNORED, MetricName, Scores, Task
from tokendrop.tasks.entities import entities, is_iob

if TYPE_CHECKING:
    from tokendrop.data.batching import Split


class TokenClassification(Task):
    """One tag for each word, read at the word's first token."""

    kind: ClassVar[Kind] = "token_classification"
    metrics: ClassVar[tuple[MetricName, ...]] = ("entity_f1", "accuracy")

    def __init__(self, labels: list[str], metric: MetricName = "entity_f1") -> None:
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
                "to score: use --model.metric accuracy"
            )
        self.labels = labels
        self.outputs = len(labels)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of (T, tags) logits over the scored tokens; 0 if there are none."""
        assert batch.labels is not None
        total = F.cross_entropy(logits, batch.labels, ignore_index=IGNORED, reduction="sum")
        return total / (batch.labels != IGNORED).sum().clamp_min(1)

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


class TagScores(Scores):
    """Scores of (T, tags) logits, over all words of the sentences seen.

    A word without a token, cut off or dissolved by the tokenizer, counts as answered with O.
    """

    def __init__(self, labels: list[str], split: Split) -> None:
        super().__init__()
        assert split.sentences is not None
        self.labels = labels
        self.sentences = split.sentences
        self.answers: dict[int, list[str]] = {}

    def update(self, logits: Tensor, batch: Batch) -> None:
        assert batch.examples is not None
        found = logits.argmax(-1).cpu().split(list(batch.layout.lengths))
        for number, row in zip(batch.examples.tolist(), found, strict=True):
            tags = row.tolist()
            self.answers[number] = [
                "O" if place is None else self.labels[tags[place]]
                for place in self.sentences[number].places
            ]

    def compute(self) -> dict[str, Tensor]:
        right = words = hits = named = wanted = 0
        for number, tags in self.answers.items():
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

    def reset(self) -> None:
        super().reset()
        self.answers = {}

    def examples(self) -> pd.DataFrame:
        """The right and the answered tags of each sentence, and whether all are right."""
        numbers = sorted(self.answers)
        gold = [" ".join(self.sentences[number].tags) for number in numbers]
        found = [" ".join(self.answers[number]) for number in numbers]
        score = [float(one == other) for one, other in zip(gold, found, strict=True)]
        return pd.DataFrame(
            {"label": gold, "tags": found, "score": score}, index=pd.Index(numbers, name="example")
        )


def words_of_tokens(words: list[str], encoding: Encoding, part: int) -> list[int]:
    """The word that each token of a part ends in, -1 for other, special and empty tokens."""
    ends = list(accumulate((len(word) + 1 for word in words), initial=-1))[1:]
    return [
        -1 if side != part or start == end else bisect_left(ends, end)
        for side, (start, end) in zip(encoding.sequence_ids, encoding.offsets, strict=True)
    ]
