"""One class for each text or pair of texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassMatthewsCorrCoef,
)

from tokendrop.data.classes import spelt_alike
from tokendrop.data.rationales import tokenised_rationales
from tokendrop.data.rows import Rows, read_classes
from tokendrop.data.sources import Table
from tokendrop.data.split import Split
from tokendrop.data.tokens import Tokeniser
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.heads import CLASS
from tokendrop.tasks.answers import Answer, Answering, Answers, Scores
from tokendrop.tasks.base import ClassWeights, Task
from tokendrop.tasks.resampling import Array, OfResamples, ratio

# what the saved predictions say beside the probability of each class
COLUMNS = {"example", "label", "score"}


class SequenceClassification(Task):
    """One class for each text or pair of texts."""

    kind = "classification"
    head = CLASS
    named = True
    right_or_wrong = True
    options: ClassVar[frozenset[str]] = frozenset({"class_weights", "rationale", "label_map"})
    metrics = ("accuracy", "f1", "matthews")

    def __init__(
        self,
        labels: list[str],
        metric: str = "accuracy",
        class_weights: Sequence[float] | None = None,
        order: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            labels: names of the classes, at least 2, in the order of the logits.
            metric: what checkpoints are chosen by and methods are compared in. "f1" is that of
                the second class if there are two, else the mean over the classes.
            class_weights: by class, how much a row counts in the loss; all alike if not given.
            order: the same names in the order that says which class is the second; that of the
                logits if not given.

        Raises:
            UserError: a class has the name of a column of the saved predictions.
        """
        if taken := COLUMNS & set(labels):
            raise UserError(
                f"a class is called {min(taken)!r}, as a column of the saved predictions is: give "
                "it another name in the data"
            )
        super().__init__(metric)
        self.labels = labels
        self.outputs = len(labels)
        self.class_weights = class_weights
        self.order = list(order or labels)

    @classmethod
    def read_rows(cls, table: Table, text: Sequence[str], label: str) -> Rows:
        return read_classes(table, text, label)

    @classmethod
    def alike(cls, given: dict[str, Rows]) -> dict[str, Rows]:
        return spelt_alike(given)

    @classmethod
    def tokenised(
        cls, rows: Rows, tokeniser: Tokeniser, labels: Sequence[str], doc_stride: int, what: str
    ) -> Split:
        if rows.rationales is None:
            tokens, rationales = tokeniser(rows.texts, what), None
        else:
            tokens, rationales = tokenised_rationales(rows, tokeniser, what)
        number = {name: index for index, name in enumerate(labels)}
        return Split(
            rows.texts,
            tokens.input_ids,
            tokens.token_type_ids,
            [number[name] for name in rows.labels],
            tokens.truncated,
            rationales=rationales,
        )

    @classmethod
    def pose(
        cls,
        splits: Mapping[str, Split],
        labels: list[str],
        order: list[str],
        metric: str,
        class_weights: ClassWeights | None,
    ) -> SequenceClassification:
        weights = None
        if class_weights is not None:
            weights = _weights(class_weights, splits["train"], labels, order)
        return cls(labels, metric, weights, order)

    @classmethod
    def answers(cls, split: Split, labels: Sequence[str], answering: Answering) -> ClassAnswers:
        return ClassAnswers(labels)

    @classmethod
    def of_resamples(cls, metric: str, answers: pd.DataFrame) -> OfResamples:
        if metric == "accuracy":
            return super().of_resamples(metric, answers)
        return _of_confusions(answers, _matthews if metric == "matthews" else _f1)

    @classmethod
    def most_frequent(cls, metric: str, answers: pd.DataFrame) -> float:
        """Of the class that the metric rewards most: F1 the positive one, be it the rarer."""
        return max(cls._always(name, metric, answers) for name in answers["label"].unique())

    @classmethod
    def _always(cls, answer: str, metric: str, answers: pd.DataFrame) -> float:
        always = answers.assign(score=(answers["label"] == answer).astype(float))
        for name in answers.columns[1:-1]:
            always[name] = float(name == answer)
        return float(cls.of_resamples(metric, always)(np.ones((1, len(always))))[0])

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Mean cross-entropy of (B, classes) logits over the rows, weighted by class."""
        assert batch.labels is not None
        weights = None if self.class_weights is None else self._weights_at(logits)
        return F.cross_entropy(logits, batch.labels, weights)

    def loss_weight(self, batch: Batch) -> Tensor | int:
        assert batch.labels is not None
        if self.class_weights is None:
            return len(batch)
        return self._weights_at(torch.empty(0, device=batch.labels.device))[batch.labels].sum()

    def _weights_at(self, like: Tensor) -> Tensor:
        weights = torch.tensor(self.class_weights, dtype=like.dtype)
        return weights.to(like.device, non_blocking=True)

    def gold(self, logits: Tensor, batch: Batch) -> Tensor:
        assert batch.labels is not None
        return logits.gather(1, batch.labels[:, None]).sum()

    def scores(self, split: Split) -> Scores:
        """Accuracy, F1 and Matthews correlation."""
        return ClassScores(self.labels, split, self.order)


def _weights(given: ClassWeights, train: Split, labels: list[str], order: list[str]) -> list[float]:
    """The weight of each class, in the order of the labels."""
    if given == "balanced":
        counts = Counter(train.labels)
        # a class that a small run never drew counts as drawn once
        classes = len(labels)
        return [len(train) / (classes * max(1, counts[c])) for c in range(classes)]
    if len(given) != len(order):
        raise UserError(
            f"class_weights {given} must be a positive number for each of the "
            f"{len(order)} classes {', '.join(order)}"
        )
    return [given[order.index(name)] for name in labels]


class ClassAnswers(Answers[list[float]]):
    """The likeliest class of (B, classes) logits; held are the probabilities."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = labels

    def update(self, logits: Tensor, batch: Batch) -> None:
        self.found.update(zip(batch.numbers, logits.softmax(-1).tolist(), strict=True))

    def __getitem__(self, example: int) -> Answer:
        by_name = dict(zip(self.labels, self.found[example], strict=True))
        return Answer(max(by_name, key=by_name.__getitem__), by_name, example)


class ClassScores(Scores):
    """Accuracy, F1 and Matthews correlation of (B, classes) logits."""

    answers: ClassAnswers

    def __init__(self, labels: list[str], split: Split, order: list[str]) -> None:
        super().__init__(ClassAnswers(labels))
        self.labels = labels
        self.split = split
        self.order = order
        classes = len(labels)
        f1: Metric = MulticlassF1Score(classes, average="macro", sync_on_compute=False)
        if classes == 2:
            # it reads the predicted class, not the probabilities
            f1 = _BinaryF1(labels.index(order[1]))
        accuracy = MulticlassAccuracy(classes, average="micro", sync_on_compute=False)
        matthews = _MatthewsScore(classes, sync_on_compute=False)
        self.metrics = MetricCollection({"accuracy": accuracy, "f1": f1, "matthews": matthews})

    def compute(self) -> dict[str, Tensor]:
        answers = self.answers.found
        found = torch.tensor(list(answers.values()), device=self.device)
        gold = torch.tensor([self.split.labels[n] for n in answers], device=self.device)
        # all at once, since metrics wait for the device in each update
        self.metrics.reset()
        self.metrics.update(found, gold)
        return self.metrics.compute()

    def examples(self) -> pd.DataFrame:
        """The label, the probability of each class, and whether the likeliest class is right.

        The classes stand in the order that says which is the second.
        """
        index = self.answers.index
        frame = pd.DataFrame(
            [self.answers.found[number] for number in index], columns=self.labels, index=index
        )
        gold = [self.split.labels[number] for number in index]
        found = torch.tensor(frame.to_numpy()).argmax(-1)
        frame = frame[self.order]
        frame.insert(0, "label", [self.labels[label] for label in gold])
        frame["score"] = (found == torch.tensor(gold)).float().tolist()
        return frame


class _BinaryF1(BinaryF1Score):
    """F1 of one of two classes from probabilities of both."""

    def __init__(self, positive: int) -> None:
        super().__init__(sync_on_compute=False)
        self.positive = positive

    def update(self, preds: Tensor, target: Tensor) -> None:
        found = preds.argmax(-1) == self.positive
        super().update(found.long(), (target == self.positive).long())


class _MatthewsScore(MulticlassMatthewsCorrCoef):
    """Matthews correlation, 0 where one class alone is predicted or right.

    It is 0 / 0 there; torchmetrics gives what the limit of some other matrix would be.
    """

    def compute(self) -> Tensor:
        matrix = self.confmat
        if any((matrix.sum(axis) > 0).sum() < 2 for axis in (0, 1)):
            return torch.zeros((), device=matrix.device)
        return super().compute()


def _of_confusions(answers: pd.DataFrame, metric: Callable[[Array], Array]) -> OfResamples:
    """A metric of the (R, classes, classes) numbers of examples by right and by answered class."""
    classes = list(answers.columns[1:-1])
    number = {name: place for place, name in enumerate(classes)}
    right = answers["label"].map(number).to_numpy()
    answered = answers[classes].to_numpy(float).argmax(1)
    rows, cells = np.arange(len(answers)), right * len(classes) + answered
    # one entry a row: as many columns as pairs of classes would be gigabytes for a hundred classes
    counted = csr_array((np.ones(len(rows)), (rows, cells)), (len(rows), len(classes) ** 2))
    return lambda weights: metric((weights @ counted).reshape(-1, len(classes), len(classes)))


def _f1(confusions: Array) -> Array:
    """Of the second class where there are two, else the mean over the classes that occur."""
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    sizes = confusions.sum(1) + confusions.sum(2)
    each = ratio(2 * hits, sizes)
    return each[:, 1] if each.shape[1] == 2 else each.sum(1) / (sizes > 0).sum(1)


def _matthews(confusions: Array) -> Array:
    """Matthews correlation of several classes (Gorodkin 2004), 0 where it is 0 / 0."""
    answered, right = confusions.sum(1), confusions.sum(2)
    total, hits = right.sum(1), np.trace(confusions, axis1=1, axis2=2)
    covariance = hits * total - (answered * right).sum(1)
    spreads = [total**2 - (side**2).sum(1) for side in (answered, right)]
    return ratio(covariance, np.sqrt(spreads[0] * spreads[1]))
