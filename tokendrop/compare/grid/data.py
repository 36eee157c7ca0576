"""The data of a comparison's tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from tokendrop.data import TextData
from tokendrop.errors import UserError
from tokendrop.models.backbones import load_tokenizer
from tokendrop.reducers import REDUCERS
from tokendrop.setting_errors import setting_error

DataOf = Callable[[str, dict[str, Any]], TextData]
"""Gives the data of a task, by its name and settings."""


def make_data(settings: dict[str, Any], backbone: str) -> TextData:
    """The data module from a task's settings, checked as the command line would.

    Raises:
        UserError: an unknown setting, or a value of the wrong type.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(TextData, "data")
    try:
        parsed = parser.parse_object({"data": {**settings, "tokenizer": backbone}})
        return parser.instantiate(parsed).data
    except ArgumentError as error:
        raise setting_error(error, REDUCERS, parser) from error


def read_data(task: str, settings: dict[str, Any], backbone: str) -> TextData:
    """The data of a task, read and tokenised.

    Raises:
        UserError: a setting, or rows, labels or files that cannot be used.
    """
    with settings_of(task):
        data = make_data(settings, backbone)
        data.setup()
        return data


def is_at_hand(settings: dict[str, Any], backbone: str) -> bool:
    """Whether a task's rows lie in files of one's own that are there, and its tokenizer is too.

    Such rows may have changed under the same name, and can be read to find out.

    Raises:
        UserError: as :func:`make_data`.
    """
    places = make_data(settings, backbone).settings.source.paths.values()
    if not places or not all(Path(place).expanduser().is_file() for place in places):
        return False
    try:
        load_tokenizer(backbone)
    except UserError:
        return False
    return True


@contextmanager
def settings_of(task: str) -> Iterator[None]:
    """Name settings as a comparison does: --data.train of a training is of one task here."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("--data.", f"--task_data.{task}.")) from error
