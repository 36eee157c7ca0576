"""What disks, editors and other programs do to files, and slips to settings."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = Callable[..., Any]

ODD = [
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\n\n", b"\t", b'"', b"'", b",", b";", b"\\"),
    *(b"{", b"}", b"[", b"]", b"null", b"NaN", b"-1", b"1e999", b"9" * 400, b"[" * 3000),
    *("\u2028".encode(), "\ud83d".encode("utf-8", "surrogatepass"), "\u00a0".encode(), b"\xe9"),
]


@st.composite
def mutated(draw: Draw, content: bytes) -> bytes:
    """Up to four changes."""
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(content)))
        end = min(len(content), place + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["cut", "drop", "insert", "flip", "repeat", "random"]))
        if kind == "cut":
            content = content[:place]
        elif kind == "drop":
            content = content[:place] + content[end:]
        elif kind == "insert":
            content = content[:place] + draw(st.sampled_from(ODD)) + content[place:]
        elif kind == "repeat":
            content = content[:end] + content[place:]
        elif kind == "random":
            content = content[:place] + draw(st.binary(max_size=30)) + content[end:]
        elif content and place < len(content):
            flipped = content[place] ^ (1 << draw(st.integers(0, 7)))
            content = content[:place] + bytes([flipped]) + content[place + 1 :]
    return content


odd = st.sampled_from(
    [
        *(None, math.nan, math.inf, -math.inf, -1, 0, 1, 2.5, 1e-5, "1e-5", "", "x", True, [], {}),
        *([1], [0, 0], {"x": 1}, 10**30, "\u2028", "../x", "a" * 300, [[1]], "null"),
    ]
)
values = st.recursive(
    odd | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@st.composite
def changed(draw: Draw, settings: Any) -> Any:
    """Settings of which one entry, somewhere, has another value, is gone or is new."""
    settings = copy.deepcopy(settings)
    here = settings
    while isinstance(here, dict) and here:
        key = draw(st.sampled_from(sorted(here, key=str)))
        if isinstance(here[key], dict) and here[key] and draw(st.booleans()):
            here = here[key]
            continue
        kind = draw(st.sampled_from(["value", "value", "value", "gone", "new"]))
        if kind == "gone":
            del here[key]
        else:
            here[key if kind == "value" else draw(st.text(max_size=6))] = draw(values)
        break
    return settings
