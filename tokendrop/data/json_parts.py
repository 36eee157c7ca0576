"""JSON that is never whole in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_AT_ONCE = 1000  # entries of a long sequence


def json_hash(value: Any, depth: int) -> str:
    """The SHA-256 of what :func:`json_parts` gives, in hexadecimal."""
    found = hashlib.sha256()
    for part in json_parts(value, depth):
        found.update(part.encode())
    return found.hexdigest()


def json_parts(value: Any, depth: int) -> Iterator[str]:
    """What ``json.dumps(value, sort_keys=True)`` gives, part by part.

    Args:
        value: any sequence stands for a list.
        depth: how deep the long sequences lie; those below are short.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield "["
        if depth:
            for number, entry in enumerate(value):
                yield ", " * bool(number)
                yield from json_parts(entry, depth - 1)
        else:
            for start in range(0, len(value), _AT_ONCE):
                entries = list(value[start : start + _AT_ONCE])
                yield ", " * bool(start) + json.dumps(entries, sort_keys=True)[1:-1]
        yield "]"
    elif depth and isinstance(value, Mapping):
        yield "{"
        for number, name in enumerate(sorted(value)):
            yield f"{', ' * bool(number)}{json.dumps(name)}: "
            yield from json_parts(value[name], depth - 1)
        yield "}"
    else:
        yield json.dumps(value, sort_keys=True)
