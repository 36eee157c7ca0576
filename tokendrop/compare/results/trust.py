"""Results that are no longer what was measured: torn, flipped by a disk, or edited by hand.

A comparison measures its runs anew then, and keeps the changed file beside the new one. What cannot
be measured anew, e.g. in a report of other people's folders, is shown with a caveat.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from tokendrop import sums

log = logging.getLogger(__name__)

CHANGED = ".changed"
EDITED = "Its record was changed after the run was measured."


def edited(path: Path) -> str:
    """The caveat of a record that can be read but is not as it was written; "" of others."""
    if not sums.is_changed(path):
        return ""
    log.warning(
        "%s was changed after it was written: what it says now is shown with a mark. Run the "
        "comparison again to measure it anew",
        path,
    )
    return EDITED


def set_aside(path: Path, out: Path, *, again: bool) -> None:
    """Move a result away that is torn, or that is not as it was written, and say so.

    Args:
        path: its file, which need not exist.
        out: the folder that the files lie in which a run's record names.
        again: whether the result will be made again; if not, only a torn one is moved away.
    """
    if not path.is_file():
        return
    try:
        found = json.loads(path.read_bytes())
    except ValueError:
        changed: Path | None = path
    else:
        changed = _changed(path, found, out) if again else None
    if changed is None:
        return
    aside = path.with_name(path.name + CHANGED)
    os.replace(path, aside)
    sums.remove(path)
    log.warning(
        "%s is torn or was changed after it was written: %s is now %s%s",
        *(changed, path.name, aside.name, ", and the run is measured again" * again),
    )


def _changed(path: Path, found: Any, out: Path) -> Path | None:
    if sums.is_changed(path):
        return path
    record = found if isinstance(found, dict) else {}
    on_dev = record.get("dev")
    named = [record.get("predictions_file"), record.get("fates_file")]
    named += [on_dev.get("predictions_file")] if isinstance(on_dev, dict) else []
    for name in named:
        if isinstance(name, str) and sums.is_changed(out / name):
            return out / name
    return None
