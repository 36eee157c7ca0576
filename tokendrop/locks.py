"""One process at a time in a folder; the others are told which."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from tokendrop.errors import UserError
from tokendrop.files import make_folder, remove_drafts, write_text
from tokendrop.stored import read_json

LOCK, HOLDER = ".lock", ".lock.json"


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
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, and remove what killed ones left half written there.

    Folders are held one by one: who holds a folder keeps nobody out of one inside it, so that
    processes can share a folder and hold its parts. The system lets go of what a process held that
    was killed.

    Args:
        folder: made if it is not there.

    Raises:
        UserError: another process holds it, or it cannot be written to.
    """
    make_folder(folder)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"{folder} is in use by {_holder(folder / HOLDER)}: wait for it, or name another "
            "folder with --out"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot lock the folder {folder} ({error.strerror}): name another with --out"
        ) from error
    try:
        remove_drafts(folder)
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        held = Holder(os.getpid(), socket.gethostname(), since, command)
        write_text(folder / HOLDER, json.dumps(asdict(held)))
        yield
    finally:
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def _holder(file: Path) -> str:
    try:
        return str(read_json(file, Holder, "who holds a folder", "wait"))
    except UserError:
        # between taking the lock and saying who
        return "another process"
