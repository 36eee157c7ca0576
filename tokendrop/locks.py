"""Work that several processes share and one of them does, while the others wait."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tokendrop.errors import UserError

log = logging.getLogger(__name__)


@contextmanager
def one_at_a_time(target: Path) -> Iterator[None]:
    """Hold the lock of a file or folder that is about to be made, once nobody else does.

    The system lets go of it when its holder ends, however that ends.

    Args:
        target: what is made; the lock lies beside it.

    Raises:
        UserError: locks do not work in that folder.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s is being made by another process: waiting for it", target)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise UserError(
            f"files in {target.parent} cannot be locked ({error}): name a folder on another file "
            "system with --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
