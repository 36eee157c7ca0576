"""What is learned from a data set: which head reads the states, the loss, and the scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

import pandas as pd
from torch import Tensor
from torchmetrics import Metric

from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.heads import BY_TOKEN, Kind, mean_divergence

if TYPE_CHECKING:
    from tokendrop.data.batching import Split

MetricName = Literal[
    "accuracy", "f1", "matthews", "pearson", "spearman", "entity_f1", "exact_match"
]

IGNORED = -100  # label of a token that is not scored: special tokens, further pieces of a word


class Scores(Metric):
    """The scores of a pass over a split, one batch after the other."""

    @abstractmethod
    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add a batch; its ``examples`` say which rows of the split it holds."""

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Every metric of the task by name, over all rows seen."""

    @abstractmethod
    def examples(self) -> pd.DataFrame:
        """What was answered for each example seen, in the order of the split.

        The index ``example`` is the number in the split. The column ``score`` is by how much the
        example counts as right (1 or 0 for a class), the others depend on the task.
        """


class Task(ABC):
    """A kind of task with its classes and its metric.

    Attributes:
        kind: see :data:`Kind`.
        outputs: numbers that the head gives.
        metric: what checkpoints are chosen by and methods are compared in; larger is better.
    """

    kind: ClassVar[Kind]
    metrics: ClassVar[tuple[MetricName, ...]]
    outputs: int
    metric: MetricName

    def __init__(self, metric: MetricName) -> None:
        """
        Raises:
            UserError: a metric that this kind of task does not have.
        """
        if metric not in self.metrics:
            raise UserError(
                f"metric {metric!r} does not measure {self.kind.replace('_', ' ')}: choose "
                f"{' or '.join(self.metrics)} with --model.metric"
            )
        self.metric = metric

    @property
    def reads_tokens(self) -> bool:
        """Whether the head reads the state of every token instead of [CLS].

        It then answers with logits (T, outputs) in the order of the packed batch, instead of
        (B, outputs).
        """
        return self.kind in BY_TOKEN

    @abstractmethod
    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """The mean loss of a pass, a scalar."""

    @abstractmethod
    def gold(self, logits: Tensor, batch: Batch) -> Tensor:
        """The logits of the right answers, summed: what saliency takes the gradient of."""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch) -> Tensor:
        """Mean KL(one || other) of the answers that two passes over a batch give as logits."""
        return mean_divergence(one, other)

    @abstractmethod
    def scores(self, split: Split) -> Scores:
        """Fresh scores of a pass over a split."""
