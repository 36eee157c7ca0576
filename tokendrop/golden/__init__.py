"""Golden data: tiny models, and what the original authors' own programs compute on them.

``python -m tokendrop.golden DIR`` runs every case of a folder through the packed encoder and the
real reducers and prints how far off they are. One module serves one kind of folder; it offers
``check(folder)``, which yields a :class:`Difference` for each quantity of each case.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.errors import UserError, one_line
from tokendrop.models.checkpoints import read_config, read_model

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Difference:
    """How far one quantity of one case is from the authors'.

    Attributes:
        value: largest absolute difference; infinite where kept sets or sizes differ.
        allowed: the largest that passes.
    """

    case: str
    quantity: str
    value: float
    allowed: float = TOLERANCE

    @property
    def failed(self) -> bool:
        # written so that a value that is not a number fails
        return not self.value <= self.allowed


def compare(case: str, quantity: str, ours: Tensor, theirs: Any, slack: float = 0.0) -> Difference:
    """The largest absolute difference of a tensor to (nested lists of) the authors' numbers.

    ``slack`` is allowed on top of the tolerance.
    """
    expected = torch.tensor(theirs, dtype=torch.float64)
    found = ours.detach().double()
    if found.shape != expected.shape:
        return Difference(case, quantity, math.inf)
    # the authors' numbers have 7 significant digits, which above 100 are less than TOLERANCE
    allowed = max(TOLERANCE, 1e-6 * float(expected.abs().max())) + slack
    return Difference(case, quantity, float((found - expected).abs().max()), allowed)


def compare_rows(
    case: str, quantity: str, ours: Sequence[Tensor], theirs: Sequence[Sequence[Any]]
) -> Difference:
    """:func:`compare` for ragged data, one tensor and one list per row."""
    if [len(row) for row in ours] != [len(row) for row in theirs]:
        return Difference(case, quantity, math.inf)
    return compare(case, quantity, torch.cat(list(ours)), [x for row in theirs for x in row])


def integers(rows: Sequence[Sequence[float]]) -> list[list[int]]:
    """Token ids as integers, which a JSON file may hold as 2.0."""
    return [[int(token) for token in row] for row in rows]


def read_cases(folder: Path) -> Any:
    """What ``cases.json`` holds.

    Raises:
        UserError: there is none, or it is not JSON.
    """
    try:
        return json.loads((folder / "cases.json").read_text())
    except OSError as error:
        raise UserError(
            f"{folder} is no golden data: cannot read its cases.json ({error.strerror})"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{folder} is no golden data: its cases.json is not JSON ({one_line(error)})"
        ) from error


def load_model(folder: Path, auto: Any) -> PreTrainedModel:
    """The folder's Hugging Face model in evaluation mode.

    Args:
        folder: golden data.
        auto: the class to load it with, e.g. ``AutoModelForSequenceClassification``.

    Raises:
        UserError: there is none, or tensors are missing.
    """
    try:
        model, _ = read_model(auto, str(folder), read_config(str(folder)), head=True)
        return model.eval()
    except UserError as error:
        raise UserError(f"{folder} is no golden data: {error}") from error
