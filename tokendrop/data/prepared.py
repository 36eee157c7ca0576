"""Rows that are ready to be trained on, and the order in which their classes are numbered."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tokendrop.data.json_parts import json_hash
from tokendrop.data.names import matched, pairs
from tokendrop.data.split import IGNORED, Numbers, Split
from tokendrop.errors import UserError
from tokendrop.tasks import ClassWeights, Task, kind_named
from tokendrop.tasks.given import task_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Tokenised splits.

    Attributes:
        splits: "train", "dev" and "test".
        kind: of the task.
        own: the class names in the order of the data; none where answers have no names.
        settings: all else that training depends on, as JSON has it.
        labels: the class names in the order by which the splits number them.
        followed: the names of the model whose order that is, None if it is the data's own.
    """

    splits: dict[str, Split]
    kind: type[Task]
    own: list[str]
    settings: Sequence[object]
    labels: list[str]
    followed: list[str] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything here."""
        used = [
            {name: self.kind.content(split) for name, split in self.splits.items()},
            *(self.kind.kind, self.labels),
            *self.settings,
        ]
        if self.labels != self.own:
            # class weights and F1 of the second class go by the data's order
            used.append(self.own)
        return json_hash(used, 3)

    def following(self, names: Sequence[str], model: str) -> Prepared:
        """The same rows with the classes numbered as a model does.

        Args:
            names: its classes in the order of its logits.
            model: how a message calls it.

        Raises:
            UserError: it is for other classes.
        """
        if not self.kind.named or list(names) == self.followed:
            return self
        labels = matched(names, self.own, model)
        if set(names) != set(labels):
            log.info("the classes of %s by number: %s", model, pairs(names, labels))
        splits = self.splits
        if labels != self.labels:
            number = {old: labels.index(name) for old, name in enumerate(self.labels)}
            splits = {name: _renumbered(split, number) for name, split in splits.items()}
        return replace(self, splits=splits, labels=labels, followed=list(names))

    def task(self, metric: str, class_weights: ClassWeights | None) -> Task:
        """The task that the rows pose.

        Args:
            metric: what methods are compared in.
            class_weights: of classification, see :class:`tokendrop.data.TextData`.

        Raises:
            UserError: a metric or class weights that do not fit.
        """
        return task_of(self.kind, self.splits, self.labels, self.own, metric, class_weights)


def check_kind(own: type[Task], kind: str, model: str) -> None:
    """Raise for a model that is for another kind of task.

    Args:
        own: the kind of the data.
        kind: what the model's head is for.
        model: how the message calls it.

    Raises:
        UserError: the two are not the same.
    """
    if kind != own.kind:
        raise UserError(
            f"the model {model} is for {kind_named(kind).title()} but the data for {own.title()}: "
            f"use --data.task {kind}, or another model"
        )


def _renumbered(split: Split, number: dict[int, int]) -> Split:
    number = {**number, IGNORED: IGNORED}
    labels: Sequence[object]
    if isinstance(split.labels, Numbers):
        labels = Numbers.of([number[tag] for tag in tags] for tags in split.labels)
    else:
        labels = [number[label] for label in split.labels]
    return replace(split, labels=labels)


def warn_truncated(splits: dict[str, Split], max_length: int) -> None:
    """Say how many rows lost their end, if any did."""
    if any(split.truncated for split in splits.values()):
        counts = [f"{split.truncated} of {len(split)} {n}" for n, split in splits.items()]
        log.warning(
            "rows longer than max_length %d were truncated: %s", max_length, ", ".join(counts)
        )
