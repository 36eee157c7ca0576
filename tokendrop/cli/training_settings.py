"""What a model folder says of its training, as defaults of the commands that evaluate the model.

The file holds all settings of ``tokendrop fit``, which may name classes to be made. A folder may be
a stranger's, so of these settings only the data, the metric and the seed are read, and as plain
values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import ValidationError

from tokendrop.data.settings import DataSettings
from tokendrop.errors import UserError, one_line, unknown
from tokendrop.models.cards import SIDE_CAR
from tokendrop.stored import first_problem, plain

TRAINING_CONFIG = "training.yaml"
# the tokenizer is the folder's own, and a folder does not say where files are written
_NOT_READ = {"tokenizer", "cache"}


@dataclass(frozen=True)
class _Model:
    metric: str = "accuracy"


@dataclass(frozen=True)
class _Settings:
    """The part that is read."""

    seed_everything: int | bool = 1
    model: _Model = field(default_factory=_Model)
    data: dict[str, Any] = field(default_factory=dict)


def training_defaults(folder: Path) -> list[str]:
    """Options of ``tokendrop fit`` that pose the task which a model was trained for.

    Args:
        folder: of the model.

    Returns:
        none where the folder does not say.

    Raises:
        UserError: the file is torn, or holds something else than settings.
    """
    file = folder / SIDE_CAR / TRAINING_CONFIG
    if not file.is_file():
        return []
    settings = _read(file)
    posed = {
        "seed_everything": settings.seed_everything,
        "model": {"metric": settings.model.metric},
        "data": {name: settings.data[name] for name in _checked(settings.data, file)},
    }
    return ["--config", yaml.safe_dump(posed)]


def data_settings(folder: Path) -> dict[str, Any]:
    """The settings of the data that a model was trained on, none where the folder does not say.

    Raises:
        UserError: as :func:`training_defaults`.
    """
    file = folder / SIDE_CAR / TRAINING_CONFIG
    return _checked(_read(file).data, file) if file.is_file() else {}


def _checked(given: dict[str, Any], file: Path) -> dict[str, Any]:
    """Those of the settings that pose a task, each of the type that it has there."""
    hints, checked = get_type_hints(DataSettings), {}
    for name, value in given.items():
        if name in _NOT_READ:
            continue
        if name not in hints:
            raise UserError(f"{file}: {unknown('setting of the data', name, hints)}")
        try:
            checked[name] = plain(value, hints[name])
        except ValidationError as error:
            raise UserError(f"{file}: data.{name}: {first_problem(error)}") from error
    return checked


def _read(file: Path) -> _Settings:
    try:
        settings: _Settings = plain(yaml.safe_load(file.read_bytes()), _Settings, "ignore")
    except ValidationError as error:
        raise UserError(
            f"{file} does not hold the settings of a training ({first_problem(error)}): delete it, "
            "and name the data on the command line"
        ) from error
    # RecursionError: lists inside lists inside lists; TypeError: dates and other values of YAML
    except (OSError, yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} is torn or not YAML ({one_line(error)}): delete it, and name the data on the "
            "command line"
        ) from error
    return settings
