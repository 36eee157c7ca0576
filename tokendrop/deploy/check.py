"""Whether an exported model answers as the one that it was made from, on rows of many lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokendrop.deploy import exits
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError, one_line
from tokendrop.models.model import TokenDropModel

ALLOWED = 1e-4  # of a logit, of the largest one where that is above 1
TIES = 50  # one in so many answers may have a token exactly at a threshold
TOGETHER, ALONE = 16, 4
CURE = (
    "it cannot be exported as it is; a method of your own must work with tensors, not with numbers "
    "read from them or with len()"
)

Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """Tokenised rows that exported files are held against.

    Attributes:
        input_ids: special tokens included.
        token_type_ids: as long as those.
        what: where they are from, for people.
    """

    input_ids: Sequence[Sequence[int]]
    token_type_ids: Sequence[Sequence[int]]
    what: str

    def __len__(self) -> int:
        return len(self.input_ids)

    def at(self, places: Sequence[int]) -> Rows:
        """Some of the rows."""
        ids, types = ([rows[n] for n in places] for rows in (self.input_ids, self.token_type_ids))
        return Rows(ids, types, self.what)

    def batches(self) -> Iterator[Rows]:
        """Rows of different lengths together, some alone, and one of a single token both ways."""
        first = [[row[0]] for row in (self.input_ids[0], self.token_type_ids[0])]
        single = Rows(first[:1], first[1:], self.what)
        start = range(0, len(self), TOGETHER)
        chunks = [self.at(range(n, min(n + TOGETHER, len(self)))) for n in start]
        last = chunks.pop()
        chunks.append(
            Rows(
                [*last.input_ids, *single.input_ids],
                [*last.token_type_ids, *single.token_type_ids],
                self.what,
            )
        )
        yield from (*chunks, *(self.at([n]) for n in range(min(ALONE, len(self)))), single)

    def packed(self) -> Batch:
        return Batch.pack(self.input_ids, self.token_type_ids)

    def padded(self) -> dict[str, Array]:
        """(B, S) what an exported model reads."""
        width = max(map(len, self.input_ids))

        def matrix(rows: Sequence[Sequence[int]]) -> Array:
            return np.array([[*row, *[0] * (width - len(row))] for row in rows], dtype=np.int64)

        return {
            "input_ids": matrix(self.input_ids),
            "attention_mask": matrix([[1] * len(row) for row in self.input_ids]),
            "token_type_ids": matrix(self.token_type_ids),
        }


@dataclass(frozen=True)
class Agreement:
    """How two models answer the same rows.

    Attributes:
        rows: how many there were.
        answers: of each model, for some rows are asked alone too.
        same: the share of these with the same class; of numbers 1.
        largest: difference of a logit, over the answers that do not differ by more than is
            explained.
        apart: answers that do.
        what: where the rows are from.
    """

    rows: int
    answers: int
    same: float
    largest: float
    apart: int
    what: str


@torch.inference_mode()
def check(model: TokenDropModel, folder: Path, rows: Rows) -> Agreement:
    """Hold an exported folder against the packed model.

    Raises:
        UserError: they differ by more than rounding.
    """
    found = agreement(_packed(model), exported(folder), rows)
    if found.apart > found.answers // TIES:
        raise UserError(
            f"{found.apart} of {found.answers} answers to {found.rows} rows ({rows.what}) are "
            f"others from the exported {type(model.reducer).__name__}: {CURE}"
        )
    return found


def exported(folder: Path) -> Callable[[Rows], Array]:
    """What an exported folder answers.

    Raises:
        UserError: as it answers, if it cannot be run on some rows.
    """
    model = exits.Model(folder)

    def run(rows: Rows) -> Array:
        try:
            return model(rows.padded())
        except Exception as error:  # the engine's own have no base in common
            raise UserError(
                f"the exported files cannot be run on {len(rows)} rows of up to "
                f"{max(map(len, rows.input_ids))} tokens ({one_line(error)}): {CURE}"
            ) from error

    return run


def _packed(model: TokenDropModel) -> Callable[[Rows], Array]:
    return lambda rows: model(rows.packed()).logits.numpy()


def agreement(
    one: Callable[[Rows], Array],
    other: Callable[[Rows], Array],
    rows: Rows,
    allowed: float = ALLOWED,
) -> Agreement:
    """How two models answer rows, together and alone.

    Args:
        one: logits (B, classes) of B rows.
        other: the same of the other model.
        rows: to answer.
        allowed: difference of a logit that is explained.
    """
    answers = [(one(batch), other(batch)) for batch in rows.batches()]
    left, right = (np.concatenate(side) for side in zip(*answers, strict=True))
    differences = np.abs(left - right).max(1)
    near = differences <= allowed * max(1.0, float(np.abs(left).max()))
    same = left.argmax(1) == right.argmax(1)
    largest = float(differences[near].max(initial=0.0))
    apart = int((~near).sum())
    return Agreement(len(rows), len(left), float(same.mean()), largest, apart, rows.what)
