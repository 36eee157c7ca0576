"""The file that Optuna keeps its trials in, with a checksum in every line."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from tokendrop.errors import InUse, UserError
from tokendrop.files import make_folder

log = logging.getLogger(__name__)

SUM = "sum"


class Lock(JournalFileOpenLock):
    """Held as long as a study is open; the system lets go of it when a process is killed."""

    def __init__(self, path: Path, wait: bool = False) -> None:
        make_folder(path.parent)
        super().__init__(str(path))
        self._file = FileLock(f"{path}.lock")
        try:
            self._file.acquire(timeout=-1 if wait else 0)
        except Timeout as error:
            raise InUse(
                f"{path} is being tuned by another process: wait for it, or name another folder "
                "with --out"
            ) from error

    def acquire(self) -> bool:
        """It is held already."""
        return True

    def release(self) -> None:
        """It is still held."""

    def close(self) -> None:
        self._file.release()


class Journal(JournalFileBackend):
    """Optuna's own form of file, whose entries it lets have more fields."""

    def __init__(self, path: Path, lock: Lock) -> None:
        """
        Args:
            path: need not exist. What lies behind a line that is torn or was changed is cut off,
                since every draw depends on all before it; it is drawn again as it was.
            lock: held.
        """
        _cut(path)
        super().__init__(str(path), lock_obj=lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        try:
            super().append_logs([entry | {SUM: _sum(entry)} for entry in logs])
        except OSError as error:
            raise UserError(
                f"cannot write {self._file_path} ({error.strerror}): make room; the same command "
                "continues from here"
            ) from error


def _sum(entry: dict[str, Any]) -> str:
    plain = {key: value for key, value in entry.items() if key != SUM}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _cut(path: Path) -> None:
    if not path.is_file():
        return
    content = path.read_bytes()
    # a journal without sums is an earlier version's or a stranger's, which is held against more
    summed = f'"{SUM}":'.encode() in content
    whole = 0
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n") or (summed and not _is_whole(line)):
            break
        whole += len(line)
    if whole == len(content):
        return
    log.warning(
        "%s is torn or was changed after its first %d bytes: what comes then is tried again, which "
        "finds what was trained",
        *(path, whole),
    )
    with path.open("r+b") as file:
        file.truncate(whole)


def _is_whole(line: bytes) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.get(SUM, _sum(entry)) == _sum(entry)
