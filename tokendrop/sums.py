"""Checksums of files, so that a flipped bit, a torn end or a change by hand is not believed.

A sum lies beside its file as ``NAME.sha256``, sums of several files of a folder in one list; both
are in the form of the command ``sha256sum``. What has no sum, as the files of earlier versions and
those of other people, is taken as it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

SUFFIX = ".sha256"
LIST = "SHA256SUMS"


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def line_of(found: str, name: str) -> str:
    """A line of ``sha256sum``."""
    return f"{found}  {name}\n"


def sum_file(file: Path) -> Path:
    """Where the sum of a file lies."""
    return file.with_name(file.name + SUFFIX)


def is_changed(file: Path) -> bool:
    """Whether a file has a sum and is not what that was made of; what is missing is not changed."""
    try:
        wanted = sum_file(file).read_bytes().split(maxsplit=1)[:1]
    except OSError:
        return False
    # torn or flipped itself, a sum says nothing good of its file
    return file.is_file() and wanted != [known(file).encode()]


def remove(file: Path) -> None:
    """Remove a file and its sum, whatever of them is there."""
    sum_file(file).unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def listed(folder: Path, files: Iterable[Path]) -> str:
    """The sums of files in a folder, as the text of a list."""
    lines = [line_of(digest(file), file.relative_to(folder).as_posix()) for file in files]
    return "".join(sorted(lines, key=lambda line: line.split("  ", 1)[1]))


def changed_of(folder: Path) -> Path | None:
    """The first file of a folder that is not as its list says, None if all are or there is none."""
    file = folder / LIST
    if not file.is_file():
        return None
    for line in file.read_bytes().splitlines():
        wanted, _, name = line.partition(b"  ")
        # a name with a flipped bit is one that nothing has
        path = Path(folder, name.decode(errors="replace").replace("\0", "?"))
        try:
            # a list may be a stranger's, and a device has no end
            if not path.is_file() or known(path).encode() != wanted:
                return path
        except OSError:
            return path
    return None


def known(file: Path) -> str:
    """As :func:`digest`, worked out once: every run asks for the large files it begins with."""
    found = os.stat(file)
    return _digest(file, found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=1024)
def _digest(file: Path, *_state: int) -> str:
    return digest(file)
