"""One process at a time in a folder, or at a file; the others are told which, or wait."""

from __future__ import annotations

import json
import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from tokendrop.errors import InUse, UserError
from tokendrop.files import file_name, make_folder, remove_drafts, write_text
from tokendrop.stored import read_json

LOCK = ".lock"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """Who works in a folder."""

    process: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since} ({self.command})"


@contextmanager
def hold(folder: Path, part: str | None = None) -> Iterator[None]:
    """Keep other processes out of a folder, and remove what killed ones left half written there.

    Who holds a folder keeps nobody out of one inside it. The system lets go of what a process held
    that was killed.

    Args:
        folder: made if it is not there.
        part: of the folder's work, which is held instead of all of it: other processes may hold
            other parts, but none the same or all.

    Raises:
        UserError: another process holds it, or it cannot be written to.
    """
    make_folder(folder)
    mine = _lock_of(folder, part)
    lock = _acquired(mine, folder)
    try:
        others = [folder / LOCK] if part is not None else sorted(folder.glob(f"{LOCK}-*"))
        for other in others:
            if other.suffix != ".json":
                # longer than another part, which begins at the same time, looks at it
                _acquired(other, folder, seconds=2).release()
        remove_drafts(folder)
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        held = Holder(os.getpid(), socket.gethostname(), since, command)
        write_text(_told(mine), json.dumps(asdict(held)))
        yield
    finally:
        _told(mine).unlink(missing_ok=True)
        lock.release()


@contextmanager
def one_writer(target: Path, option: str = "--out", seconds: float = 0) -> Iterator[None]:
    """Keep other processes from writing a file, or a folder that appears at once.

    What killed ones left half written beside it is removed.

    Args:
        target: what is written; the lock lies beside it while this process writes.
        option: that names it.
        seconds: to wait for another process that writes it.

    Raises:
        UserError: another process writes it, or there is no place to write to.
    """
    make_folder(target.absolute().parent, option)
    file = _lock_beside(target)
    lock = _acquired(file, target, seconds, option)
    try:
        # that folder is not ours, and may be all that somebody has
        remove_drafts(target.absolute().parent, below=False)
        yield
    finally:
        lock.release()
        file.unlink(missing_ok=True)


def at_work(folder: Path, part: str) -> bool:
    """Whether a process holds a part of a folder's work, or was killed while it did."""
    return _told(_lock_of(folder, part)).is_file()


@contextmanager
def one_at_a_time(target: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a file or folder that is about to be made, once no other process does.

    Args:
        target: what is made; the lock lies beside it.
        wait: for another process that makes it.

    Raises:
        InUse: another process makes it, and is not waited for.
        UserError: locks do not work in that folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    file = _lock_beside(target)
    try:
        lock = _locked(file)
    except Timeout as error:
        if not wait:
            raise InUse(f"{target} is being made by another process: wait for it") from error
        log.info("%s is being made by another process: waiting for it", target)
        lock = _locked(file, seconds=-1)
    try:
        yield
    finally:
        lock.release()


def is_being_made(target: Path) -> bool:
    """Whether another process holds it, see :func:`one_at_a_time`."""
    try:
        with one_at_a_time(target, wait=False):
            return False
    except InUse:
        return True


def _lock_of(folder: Path, part: str | None) -> Path:
    return folder / (LOCK if part is None else f"{LOCK}-{file_name(part)}")


def _lock_beside(target: Path) -> Path:
    return target.with_name(f".{target.name}{LOCK}")


def _acquired(file: Path, target: Path, seconds: float = 0, option: str = "--out") -> BaseFileLock:
    try:
        return _locked(file, seconds, option)
    except Timeout as error:
        raise UserError(
            f"{target} is in use by {_holder(_told(file))}: wait for it, or name another place "
            f"with {option}"
        ) from error


def _locked(file: Path, seconds: float = 0, option: str = "--out") -> BaseFileLock:
    """A lock, waited for so long; -1 is as long as it takes."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise
    except (OSError, NotImplementedError) as error:
        raise UserError(
            f"files in {file.parent} cannot be locked ({error}): name a folder on another file "
            f"system with {option}"
        ) from error
    return lock


def _told(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def _holder(file: Path) -> str:
    try:
        return str(read_json(file, Holder, "who holds a folder", "wait"))
    except UserError:
        # between taking the lock and saying who
        return "another process"
