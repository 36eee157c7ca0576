"""Writing so that a kill, a full disk or Ctrl-C leaves the old or the new, never a torn file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokendrop.errors import UserError


def make_folder(path: str | Path) -> Path:
    """Create a folder and check that it can be written to.

    Raises:
        UserError: it cannot.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise UserError(
            f"cannot write to the folder {folder} ({error.strerror}): name another with --out"
        ) from error


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Fill a new folder that appears under its name only once complete.

    An older folder of that name is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield draft
        draft.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        os.replace(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Fill a new file that appears under its name only once complete, in place of an older one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.chmod(0o644)
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or leave the old one."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")
