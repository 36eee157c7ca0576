"""Answers read from logits, by an evaluation and by a prediction alike, and what they score."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import pandas as pd
import torch
from torch import Tensor
from torchmetrics import Metric

from tokendrop.engine.packed import Batch
from tokendrop.errors import Diverged, UserError

T = TypeVar("T")

_MOST_WAITING = 64  # batches held on a device, whose memory must not grow with the split


@dataclass(frozen=True)
class Answering:
    """What a model must know of its task to answer as it was scored.

    Attributes:
        kind: of the task.
        doc_stride: tokens that neighbouring windows of a context share.
        unanswerable: whether a question may have no answer in its context.
        parts: how many texts a row has, 2 for pairs; None where that makes no difference, or
            nobody wrote it down.
    """

    kind: str
    doc_stride: int = 128
    unanswerable: bool = False
    parts: Literal[1, 2] | None = None


@dataclass(frozen=True)
class Answer:
    """What was answered for an example.

    Attributes:
        label: in words.
        probabilities: by class name; empty where the answer is no class.
        row: of the split, that it was read from.
        value: the number where the answer is one, not rounded.
    """

    label: str
    probabilities: dict[str, float]
    row: int
    value: float | None = None


class Answers(ABC, Generic[T]):
    """The answers of a pass over a split, read from its logits, one batch after the other.

    Attributes:
        found: what is held of each example seen, by its number in the split.
    """

    def __init__(self) -> None:
        self.found: dict[int, T] = {}

    @abstractmethod
    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add a batch; its ``examples`` say which rows of the split it holds."""

    def join(self, found: Mapping[int, T]) -> None:
        """Add what another pass found, over other rows of the same split.

        Args:
            found: as :attr:`found`; of an example with several rows, both may know a part.
        """
        self.found.update(found)

    @abstractmethod
    def __getitem__(self, example: int) -> Answer:
        """The answer for an example seen."""

    @property
    def index(self) -> pd.Index:
        """The numbers of the examples seen, in the order of the split."""
        return pd.Index(sorted(self.found), name="example")


class Scores(Metric):
    """The scores of a pass over a split, one batch after the other."""

    def __init__(self, answers: Answers[Any]) -> None:
        """
        Args:
            answers: reads what is scored.
        """
        # what several processes answered is brought together before it is scored
        super().__init__(sync_on_compute=False)
        self._answers = answers
        self._waiting: list[tuple[Tensor, Batch]] = []

    @property
    def answers(self) -> Answers[Any]:
        """The answers of all batches so far. What waits on a device is read back now, at once.

        Raises:
            Diverged: logits that are not finite, of which any answer would be made up.
        """
        if self._waiting:
            logits, batches = zip(*self._waiting, strict=True)
            self._waiting.clear()
            found = torch.cat(logits).cpu().split([len(part) for part in logits])
            if spoiled := sum(not part.isfinite().all() for part in found):
                raise Diverged(
                    f"the model's numbers are not finite in {spoiled} of {len(found)} batches, so "
                    "its answers cannot be scored: are all of its weights? Restore them, or train "
                    "it again with a lower learning rate"
                )
            for part, batch in zip(found, batches, strict=True):
                self._answers.update(part, batch)
        return self._answers

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add a batch; its ``examples`` say which rows of the split it holds.

        Its answers are read when somebody asks for them, so that a pass waits for no device.
        """
        self._waiting.append((logits, batch))
        if len(self._waiting) == _MOST_WAITING:
            _ = self.answers

    def reset(self) -> None:
        super().reset()
        self._waiting.clear()
        self._answers.found.clear()

    def values(self, metric: str) -> dict[str, float]:
        """What :meth:`compute` gives as numbers, which the scores of anybody's kind of task are.

        Args:
            metric: the one that is asked for; rows may lack what others need, as tags that mark
                no entities do.

        Raises:
            UserError: it is missing, or one is no number or above 1, which nothing later could
                show.
        """
        source, values = f"{type(self).__name__}.compute", {}
        found: Any = self.compute()
        if metric not in found:
            raise UserError(
                f"{source} gave no {metric!r}, which is the metric: give every metric by its name "
                f"(it gave {', '.join(map(repr, found)) or 'none'})"
            )
        for name, given in found.items():
            try:
                value = float(given)
            except (TypeError, ValueError, RuntimeError):
                value = math.nan
            if not math.isfinite(value):
                raise UserError(
                    f"{source} gave {name!r} as {given!r}: give one finite number, whatever the "
                    "rows and their answers are, e.g. 0 where a class does not occur"
                )
            if value > 1 + 1e-4:
                raise UserError(
                    f"{source} gave {name!r} as {value:g}: a metric is at most 1, and larger "
                    "where the model is better; turn an error into 1 - error / (error of who knows "
                    "nothing)"
                )
            values[name] = value
        return values

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Every metric of the task by name, over all rows seen."""

    @abstractmethod
    def examples(self) -> pd.DataFrame:
        """What was answered for each example seen, in the order of the split.

        The index ``example`` is the number in the split. The column ``label`` is what is right,
        ``score`` is by how much the example counts as right (1 or 0 for a class), the others depend
        on the task.
        """
