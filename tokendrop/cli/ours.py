"""Files that commands wrote before, told from those of others by how they begin."""

from __future__ import annotations

from pathlib import Path

_BEGINNING = 2000


def is_ours(file: Path, mark: str) -> bool:
    """Whether a file is there and has a mark among its first characters."""
    if not file.is_file():
        return False
    with file.open(encoding="utf-8", errors="replace") as opened:
        return mark in opened.read(_BEGINNING)
