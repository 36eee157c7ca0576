"""What a kind of task is: a :class:`Task`.

The class says all that is known of the kind without data: its head, how its rows are read and
become tokens and labels, and how logits become answers. An instance is the task that some data
pose: it has the loss and the scores. One kind is one file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import pandas as pd
from torch import Tensor

from tokendrop.bounds import Positive
from tokendrop.data.classes import class_names
from tokendrop.data.rationales import is_eraser, with_documents
from tokendrop.data.rows import Rows
from tokendrop.data.sources import Table, read_file
from tokendrop.data.split import Split
from tokendrop.data.tokens import Tokeniser
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.heads import Head, mean_divergence
from tokendrop.tasks.answers import Answering, Answers, Scores
from tokendrop.tasks.resampling import OfResamples, mean

ClassWeights = Literal["balanced"] | list[Positive]


class Task(ABC):
    """A kind of task, and as an instance the task that some data pose.

    Attributes:
        kind: its name, in options and records.
        head: what reads the states.
        named: whether its answers are classes with names.
        right_or_wrong: whether a saved score is 1 or 0, so that McNemar's test can be made.
        options: of the data module, what this kind alone takes.
        metrics: that it is measured in; larger is better in all of them.
        text: the columns of the text where none are named.
        counts: how many of them there may be.
        label: the column of the label where none is named.
        outputs: numbers that the head gives.
        metric: what checkpoints are chosen by and methods are compared in.
    """

    kind: ClassVar[str]
    head: ClassVar[Head]
    named: ClassVar[bool] = False
    right_or_wrong: ClassVar[bool] = False
    options: ClassVar[frozenset[str]] = frozenset()
    metrics: ClassVar[tuple[str, ...]]
    text: ClassVar[tuple[str, ...]] = ("text",)
    counts: ClassVar[tuple[int, ...]] = (1, 2)
    label: ClassVar[str] = "label"
    outputs: int
    metric: str

    def __init__(self, metric: str) -> None:
        """
        Raises:
            UserError: a metric that this kind of task does not have.
        """
        if metric not in self.metrics:
            raise UserError(
                f"metric {metric!r} does not measure {self.title()}: choose "
                f"{' or '.join(self.metrics)}, with --model.metric or as metric of the task's file"
            )
        self.metric = metric

    @classmethod
    def title(cls) -> str:
        """The kind's name in a sentence."""
        return cls.kind.replace("_", " ")

    # -- from a file to tokens --------------------------------------------------------------------

    @classmethod
    def read_file(
        cls,
        path: str,
        text: Sequence[str],
        label: str,
        columns: Sequence[str] | None = None,
        folder: Path | None = None,
    ) -> Table:
        """The table of a file; one in ERASER's form gets the documents it names.

        Args:
            path: the file.
            text: the columns that the text is looked for in.
            label: the column that the label is looked for in.
            columns: names for the columns of a file without a header.
            folder: for the file that holds the rows, see :func:`tokendrop.data.cells.mapped`.

        Raises:
            UserError: a file that cannot be read.
        """
        table = read_file(path, columns, folder)
        return with_documents(table) if is_eraser(table) else table

    @classmethod
    @abstractmethod
    def read_rows(cls, table: Table, text: Sequence[str], label: str) -> Rows:
        """The checked rows of a table, which know what belongs together in a split.

        Raises:
            UserError: a row that cannot be used.
        """

    @classmethod
    def alike(cls, given: dict[str, Rows]) -> dict[str, Rows]:
        """The rows of all files, with labels that mean the same written the same."""
        return given

    @classmethod
    def class_names(cls, splits: dict[str, Rows], declared: list[str] | None) -> list[str]:
        """The classes of the rows, none where answers have no names.

        Raises:
            UserError: classes that cannot be told apart or learned.
        """
        return class_names(splits, declared) if cls.named else []

    @classmethod
    def renamed(cls, rows: Rows, names: Mapping[str, str]) -> Rows:
        """The rows with other names of their classes; asked of kinds with the option label_map.

        Args:
            rows: from :meth:`read_rows`.
            names: the new name of each class.
        """
        return replace(rows, labels=[names[label] for label in rows.labels], names=[])

    @classmethod
    @abstractmethod
    def tokenised(
        cls, rows: Rows, tokeniser: Tokeniser, labels: Sequence[str], doc_stride: int, what: str
    ) -> Split:
        """The rows as a split, with labels as the loss reads them; with none where rows have none.

        Args:
            rows: from :meth:`read_rows` or :meth:`unlabelled_rows`.
            tokeniser: with its maximum length.
            labels: class names.
            doc_stride: tokens that neighbouring windows of a context share.
            what: shown beside the progress bar.
        """

    @classmethod
    def content(cls, split: Split) -> list[object]:
        """All that the loss and the scores of a split depend on, beside the tokens, as JSON."""
        return [split.texts, split.labels]

    # -- from data to a head and a task -----------------------------------------------------------

    @classmethod
    def output_names(cls, labels: list[str]) -> list[str]:
        """A name for each output of the head, of which a model without class names has some too."""
        return labels

    @classmethod
    def pose(
        cls,
        splits: Mapping[str, Split],
        labels: list[str],
        order: list[str],
        metric: str,
        class_weights: ClassWeights | None,
    ) -> Task:
        """The task that some data pose; by default it depends on nothing but the metric.

        Args:
            splits: "train", "dev" and "test".
            labels: class names in the order by which the splits number them.
            order: the same names in the data's own order.
            metric: what methods are compared in.
            class_weights: None unless this kind has them among its options.

        Raises:
            UserError: a metric or class weights that do not fit.
        """
        return cls(metric)

    @classmethod
    def answering(cls, splits: Mapping[str, Split], doc_stride: int) -> Answering:
        """What a model trained on these data must know to answer as it was scored."""
        first = next((split.texts[0] for split in splits.values() if split.texts), ("",))
        return Answering(cls.kind, doc_stride, parts=2 if len(first) == 2 else 1)

    # -- from logits to answers -------------------------------------------------------------------

    @classmethod
    def complaint(cls, text: tuple[str, ...]) -> str:
        """What keeps a text or a pair from being answered for, "" if nothing does."""
        if len(text) > 2:
            return f"has {len(text)} parts with a tab between them: give one text, or a pair"
        return ""

    @classmethod
    def unlabelled_rows(cls, texts: list[tuple[str, ...]]) -> Rows:
        """Rows of texts whose right answers are not known."""
        return Rows(texts, [], list(range(1, len(texts) + 1)), "texts")

    @classmethod
    def fitting_stride(cls, text: tuple[str, ...], tokeniser: Tokeniser, doc_stride: int) -> int:
        """The stride that a text is cut into windows with: the model's, unless it has no room."""
        return doc_stride

    @classmethod
    @abstractmethod
    def answers(cls, split: Split, labels: Sequence[str], answering: Answering) -> Answers[Any]:
        """Reads the answers of a pass over a split.

        Args:
            split: from :meth:`tokenised`.
            labels: class names in the order of the logits.
            answering: how the model's answers were scored.
        """

    # -- saved predictions ------------------------------------------------------------------------

    @classmethod
    def of_resamples(cls, metric: str, answers: pd.DataFrame) -> OfResamples:
        """A metric of resamples of saved examples, by default the mean of their scores.

        Args:
            metric: one that the kind of task has.
            answers: the saved predictions, see :meth:`Scores.examples`.
        """
        return mean(answers["score"].to_numpy(float))

    @classmethod
    def most_frequent(cls, metric: str, answers: pd.DataFrame) -> float:
        """The metric of always answering the same, 0 where that answers nothing right.

        Args:
            metric: one that the kind of task has.
            answers: the saved predictions, for their labels.
        """
        return 0.0

    # -- training ---------------------------------------------------------------------------------

    @abstractmethod
    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """The mean loss of a pass, a scalar."""

    def loss_weight(self, batch: Batch) -> Tensor | int:
        """What :meth:`loss` is divided by, so that means over parts of a batch can be joined."""
        return len(batch)

    def divergence_weight(self, batch: Batch) -> Tensor | int:
        """What :meth:`divergence` is divided by."""
        return len(batch)

    @abstractmethod
    def gold(self, logits: Tensor, batch: Batch) -> Tensor:
        """The logits of the right answers, summed: what saliency takes the gradient of."""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """Mean KL(one || other) of the answers that two passes over a batch give as logits."""
        return mean_divergence(one, other)

    @abstractmethod
    def scores(self, split: Split) -> Scores:
        """Fresh scores of a pass over a split."""
