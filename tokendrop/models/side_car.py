"""The folder beside a model's weights: which reducer drops its tokens, and what it learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tokendrop.bounds import Count
from tokendrop.errors import UserError, one_line
from tokendrop.models.cards import DESCRIBED
from tokendrop.models.folders import check_folder
from tokendrop.reducers.base import Reducer
from tokendrop.stored import read_json
from tokendrop.tasks import Answering

WEIGHTS = "reducer.safetensors"


@dataclass(frozen=True)
class SideCar:
    """What the folder ``reducer`` says of the model around it.

    Attributes:
        reducer: the method.
        backbone_type: what its weights were trained on, None if nobody wrote it down.
        max_length: longest row in tokens, None for as many as the backbone has positions for.
        answering: how its answers were scored, None for as its head says.
    """

    reducer: dict[str, Any]
    backbone_type: str | None = None
    max_length: Count | None = None
    answering: Answering | None = None


def read_side_car(folder: Path) -> SideCar:
    """What a model folder says of its reducer; of a plain Hugging Face model, that it is dense.

    Raises:
        UserError: it is no model folder, or what it says is torn.
    """
    check_folder(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a model folder but a file: name the folder around it")
    file = folder / DESCRIBED
    if not file.parent.is_dir():
        return SideCar({"class_path": "Dense"})
    return read_json(file, SideCar, "what describes a reducer", "restore it", others="ignore")


def load_weights(reducer: Reducer, file: Path) -> None:
    """Fill a reducer that has weights of its own.

    Raises:
        UserError: there are none, those of something else, or some that are no numbers.
    """
    if not reducer.state_dict():
        return
    if not file.is_file():
        raise UserError(
            f"{file} is missing, the weights of {type(reducer).__name__}: restore it, or train the "
            "model again"
        )
    try:
        reducer.load_state_dict(load_file(file))
    # a chain reads from its weights which parts act, and torch tells misfits by many exceptions
    except (RuntimeError, SafetensorError, ValueError, TypeError, IndexError, OSError) as error:
        raise UserError(
            f"the reducer weights {file} do not fit {type(reducer).__name__} on this "
            f"backbone: {one_line(error)}"
        ) from error
    # a comparison with one is never true, so answers would look like any others
    for name, value in reducer.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and value.isnan().any():
            raise UserError(
                f"{file}: not all of {name} are numbers (NaN), so {type(reducer).__name__} cannot "
                "decide what to drop: restore it, or train the model again"
            )
