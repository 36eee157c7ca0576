"""Tables of tokens in files, each named by what went into it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pyarrow as pa

from tokendrop.data.cells import no_room
from tokendrop.files import remove_drafts, whole_file
from tokendrop.sums import is_changed

log = logging.getLogger(__name__)


def remembered(file: Path, rows: int) -> pa.Table | None:
    """The table of a file, or None where there is none or it is damaged, which is said.

    Args:
        file: that :func:`remember` wrote.
        rows: that it has at least; a text may have several windows.
    """
    if not file.is_file():
        return None
    try:
        table = None if is_changed(file) else _mapped(file)
    except (OSError, pa.ArrowException):
        table = None
    if table is None or table.num_rows < rows:
        log.warning("%s is torn or was changed: its texts are tokenised again", file)
        return None
    return table


def remember(batches: Iterator[pa.RecordBatch], file: Path) -> pa.Table:
    """Write record batches, at least one, and map them.

    Raises:
        UserError: there is no room, or the folder cannot be written to.
    """
    first = next(batches)
    try:
        remove_drafts(file.parent)
        with (
            whole_file(file, summed=True) as draft,
            pa.OSFile(str(draft), "wb") as out,
            pa.ipc.new_stream(out, first.schema) as writer,
        ):
            for batch in chain([first], batches):
                writer.write_batch(batch)
    except OSError as error:
        raise no_room(file.parent, error) from error
    return _mapped(file)


def _mapped(file: Path) -> pa.Table:
    return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
