"""Files of an output folder as bytes, for workers that cannot see the folder."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path


def pack(root: Path, paths: Iterable[Path]) -> bytes:
    """Files and whole folders below a root; what is not there is left out."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for path in paths:
            if path.exists():
                archive.add(path, arcname=str(path.relative_to(root)))
    return held.getvalue()


def unpack(packed: bytes, root: Path) -> None:
    """Write packed files below a root, over those that lie there."""
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(root, filter="data")


def state(root: Path) -> dict[Path, tuple[int, int]]:
    """When each file below a root was changed, and its size."""
    found = {}
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            told = path.stat()
            found[path] = (told.st_mtime_ns, told.st_size)
    return found


def changed(root: Path, before: dict[Path, tuple[int, int]]) -> list[Path]:
    """The files below a root that are new or have been written since."""
    return [path for path, told in state(root).items() if before.get(path) != told]
