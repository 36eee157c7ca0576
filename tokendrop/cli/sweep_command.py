"""The ``tokendrop fit`` that a W&B sweep file runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokendrop.configs import config_folder, cure_of_path, read_config
from tokendrop.errors import UserError

ROWS = {"dataset", "dir", "train", "files"}
"""By one of these a file of settings is a task's."""


def fit_words(path: Path, command: Any) -> list[str]:
    """The options of ``tokendrop fit``, with paths that are found from anywhere.

    Args:
        path: the sweep's file, for complaints.
        command: as it stands there.

    Raises:
        UserError: it is none, or names a file of settings that is not there.
    """
    if not isinstance(command, list) or "fit" not in command:
        raise UserError(f"{path}: the command runs no 'tokendrop fit', so it cannot run here")
    words: list[str] = []
    for word in map(str, command[command.index("fit") + 1 :]):
        if word.startswith("${"):  # W&B puts the parameters there
            continue
        named = re.fullmatch(r"(?:--config=|-c=?)(.*)", word)
        words += ["--config", *filter(None, named.groups())] if named else [word]
    return [
        _found(path, word) if before == "--config" else word
        for before, word in zip(["", *words], words, strict=False)
    ]


def task_among(words: Sequence[str]) -> str | None:
    """The first of the files of settings that is a task's."""
    return next((word for word in _configs(words) if _is_task(Path(word))), None)


def _found(path: Path, word: str) -> str:
    """A file of settings where it lies: from here, or beside those that come with the package."""
    beside = config_folder().parent / word
    if Path(word).is_file():
        return word
    if not beside.is_file():
        raise UserError(
            f"{path}: the command names {word}, but there is no such file of settings: "
            f"{cure_of_path(word)}"
        )
    return str(beside)


def _configs(words: Sequence[str]) -> Iterator[str]:
    return (word for before, word in pairwise(words) if before == "--config")


def _is_task(file: Path) -> bool:
    """Whether a file of settings says which rows there are, or comes with the package as a task."""
    if file.parent.name == "task":
        return True
    data = read_config(file).get("data")
    return isinstance(data, dict) and not ROWS.isdisjoint(data)
