"""Writing so that a kill, a full disk or Ctrl-C leaves the old or the new, never a torn file.

What is being written is a *draft*: a hidden file or folder beside its target that says which
process writes it, so that the next start can remove what a kill left.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import quote

from tokendrop.errors import UserError
from tokendrop.sums import digest, line_of, sum_file

DRAFT = ".draft"
# people have files of this ending too; ours say which host and process, see _mark
_IS_DRAFT = re.compile(r"\.[0-9a-f]{8}-[0-9]+-.+" + re.escape(DRAFT))
OLDER = f"-older{DRAFT}"  # of a folder's draft, which holds the folder that it replaces
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DAY = 24 * 3600
LONGEST = 180  # characters of a name, which leaves room for endings
# file names that Windows takes for devices, whatever their endings are
_PORTS = [f"{port}{number}" for port in ("com", "lpt") for number in range(10)]
DEVICES = {"con", "prn", "aux", "nul", *_PORTS}


def make_folder(path: str | Path, option: str = "--out") -> Path:
    """Create a folder and check that it can be written to.

    Args:
        path: the folder.
        option: which another one can be named with.

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
            f"cannot write to the folder {folder} ({error.strerror}): name another with {option}"
        ) from error


def check_target(target: Path, ours: str) -> None:
    """Find out whether :func:`whole_folder` may and can write there.

    Args:
        target: the folder.
        ours: the file in it by which one is known that may be replaced.

    Raises:
        UserError: it may not, as something else lies there that would be lost, or cannot.
    """
    place = _behind_links(target)
    if place.exists() and not place.is_dir():
        raise UserError(f"{target} is a file where a folder is to be written: move it away")
    if place.is_dir() and any(place.iterdir()) and not (place / ours).is_file():
        raise UserError(
            f"{target} holds other files (it has no {ours}), so it is not replaced: name another "
            "folder, or move them away"
        )
    make_folder(place.parent)


def check_untaken(folder: Path, names: Iterable[str], ours: Iterable[str], what: str) -> None:
    """Find out whether files may be written into a folder, beside what lies there.

    Args:
        folder: need not be there.
        names: of files and folders that would be written over or into.
        ours: patterns of files by which a folder is known where they may be.
        what: such a folder is.

    Raises:
        UserError: one of the names is in use, and it is no such folder.
    """
    if any(any(folder.glob(pattern)) for pattern in ours):
        return
    if taken := next((name for name in names if _is_used(folder / name)), None):
        raise UserError(
            f"{folder} has {taken} of something else and no {what}: name another folder with "
            "--out, or move it away"
        )


def _is_used(path: Path) -> bool:
    # hidden files do not count: other processes may have begun with theirs
    return path.is_file() or any(one.is_file() for one in path.rglob("[!.]*"))


def check_file(target: Path, option: str) -> None:
    """Find out whether :func:`whole_file` will be able to write there.

    Args:
        target: the file.
        option: that names it.

    Raises:
        UserError: it will not, or would put a file in the place of a device.
    """
    place = _behind_links(target)
    if place.exists() and not place.is_file():
        raise UserError(f"{option} {target} is not a regular file: name another")
    make_folder(place.parent, option)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Fill a new folder that appears under its name only once complete.

    An older folder of that name is replaced. Where the name is a link, what it leads to is.

    Raises:
        OSError: it cannot be written; the error names the target.
    """
    target = _behind_links(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=_mark(), suffix=DRAFT, dir=target.parent))
    older = draft.with_name(draft.name.removesuffix(DRAFT) + OLDER)
    try:
        with _target_is_named(target), _no_room_is_said(target):
            yield draft
        draft.chmod(0o755)
        # removing the older one takes time, in which a kill must not find neither
        if target.exists():
            older.mkdir()
            os.replace(target, older / target.name)
        os.replace(draft, target)
    except BaseException:
        _put_back(older)
        raise
    finally:
        for left in (draft, older):
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def whole_file(target: Path, *, summed: bool = False) -> Iterator[Path]:
    """Fill a new file that appears under its name only once complete, in place of an older one.

    Args:
        target: the file; where it is a link, what that leads to is written.
        summed: whether its checksum is written beside it, see :mod:`tokendrop.sums`.

    Raises:
        OSError: it cannot be written; the error names the target.
    """
    target = _behind_links(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft: Path | None = None
    try:
        with _target_is_named(target):
            handle, name = tempfile.mkstemp(prefix=_mark(), suffix=DRAFT, dir=target.parent)
            os.close(handle)
            draft = Path(name)
            with _no_room_is_said(target):
                yield draft
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.chmod(0o644)
            line = line_of(digest(draft), target.name) if summed else None
            # a kill in between leaves a file without a sum, never one with that of another
            sum_file(target).unlink(missing_ok=True)
            os.replace(draft, target)
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)
    if line is not None:
        write_text(sum_file(target), line)


@contextmanager
def _target_is_named(target: Path) -> Iterator[None]:
    """Name the target in an error of what was written, which names nothing, or a draft."""
    try:
        yield
    except OSError as error:
        place = Path(str(error.filename))
        if error.filename is None or any(map(_IS_DRAFT.fullmatch, place.parts)):
            raise OSError(error.errno, error.strerror or str(error), str(target)) from error
        raise


@contextmanager
def _no_room_is_said(target: Path) -> Iterator[None]:
    """Libraries of other languages tell of a full disk by exceptions of their own."""
    try:
        yield
    except (OSError, UserError):
        raise
    except Exception as error:
        for number in NO_ROOM:
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number), str(target)) from error
        raise


def write_text(path: Path, text: str, *, summed: bool = False) -> None:
    """Write a whole text file or leave the old one, see :func:`whole_file`."""
    with whole_file(path, summed=summed) as draft:
        draft.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes | memoryview, *, summed: bool = False) -> None:
    """Write a whole file or leave the old one, see :func:`whole_file`."""
    with whole_file(path, summed=summed) as draft:
        draft.write_bytes(content)


def remove_drafts(folder: Path, *, below: bool = True) -> None:
    """Remove what processes that are gone were writing in a folder.

    A folder that one of them was replacing, and had not yet, is put back under its name.
    Drafts of another machine, whose processes cannot be seen from here, go when a day old.

    Args:
        folder: to look in.
        below: whether to look in the folders in it too, as in one that is all ours.
    """
    for place, folders, files in os.walk(folder):
        for name in filter(_IS_DRAFT.fullmatch, (*folders, *files)):
            draft = Path(place, name)
            if _is_left(draft):
                # a stranger's link may lead to other people's folders
                if name.endswith(OLDER) and not draft.is_symlink():
                    _put_back(draft)
                shutil.rmtree(draft, ignore_errors=True)
                if draft.is_file():
                    draft.unlink(missing_ok=True)
        folders[:] = [name for name in folders if below and not _IS_DRAFT.fullmatch(name)]


def _put_back(older: Path) -> None:
    """Give a folder that was to be replaced its name back, if nothing has taken its place."""
    for folder in older.glob("*"):
        if not (target := older.with_name(folder.name)).exists():
            os.replace(folder, target)


def _is_left(draft: Path) -> bool:
    host, process, *_ = draft.name.removeprefix(".").split("-")
    if host == _host():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False
    try:
        return time.time() - draft.stat().st_mtime > DAY
    except OSError:
        return False


def _mark() -> str:
    return f".{_host()}-{os.getpid()}-"


@cache
def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _behind_links(target: Path) -> Path:
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def file_name(name: str) -> str:
    """A name that people chose as a file name on any system, without its ending.

    It names no other folder, has no characters that a system forbids, and is not too long. Usual
    names stay as they are.

    >>> file_name("1/2")
    '1%2F2'
    """
    quoted = quote(name, safe="=,+@", errors="backslashreplace") or "%"
    if quoted.split(".")[0].lower() in DEVICES or set(quoted) <= {"."}:
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    if len(quoted) <= LONGEST:
        return quoted
    # a hash in place of the end, so that long names which begin alike stay two
    return f"{quoted[: LONGEST - 20]}-{hashlib.sha256(quoted.encode()).hexdigest()[:16]}"
