"""Folders in the form of sentence-transformers: several modules, of which the encoder is first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokendrop.errors import UserError
from tokendrop.stored import read_json

MODULES = "modules.json"


@dataclass(frozen=True)
class _Module:
    path: str


def encoder_folder(folder: Path) -> Path:
    """Where the encoder lies: in the folder itself, or in that of the first module.

    Raises:
        UserError: the list of modules is torn, or what it names first is no encoder.
    """
    file = folder / MODULES
    if (folder / "config.json").is_file() or not file.is_file():
        return folder
    modules = read_json(file, list[_Module], "a list of modules", "restore it", others="ignore")
    inside = folder / modules[0].path if modules else folder
    # a list by somebody else may name any place
    known = folder.resolve() in inside.resolve().parents
    if not known or not (inside / "config.json").is_file():
        raise UserError(
            f"{file} names no folder with an encoder's config.json first: name the folder of the "
            "encoder itself, or another model"
        )
    return inside
