"""The colour and the marker of each method, the same in every report."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

from tokendrop.compare.results.records import Record
from tokendrop.themes import LIGHT, Theme

MARKERS = "osD^vPX<>hp"
PLAIN = "*dH8"
"""Markers of models that drop nothing, which have the colour of the text."""

KNOWN = (
    "adapler",
    "power_bert",
    "length_adaptive",
    "dact_bert",
    "entropy_exit",
    "threshold_pruning",
    "token_merging",
    "truncation",
    "fewer_layers",
    "random_drop",
    "patience_exit",
    "attention_top_k",
    "saliency_top_k",
    "first_k",
    "chain",
    "chain_adapler",
    "chain_length_adaptive",
)
"""Methods with a look of their own for good: what is new goes to the end."""

Look = tuple[str, str]
"""Colour and marker."""


def looks_of(records: Iterable[Record], theme: Theme) -> dict[str, Look]:
    """The look of each method of a report.

    A known method has the same in every report. Any other one has the colour that its name leads
    to, or the next one that no method of this report has, as long as there is one. Engines have the
    colour of the text, as what drops nothing, and a marker of methods.
    """
    records = list(records)
    engines = sorted({record.method for record in records if "engine" in record.details})
    methods = {record.method: record.is_reference for record in records}
    found: dict[str, tuple[int, int]] = {
        method: _place(KNOWN.index(method)) for method in sorted(methods) if method in KNOWN
    }
    looks: dict[str, Look] = {}
    for method in sorted(methods):
        if methods[method]:
            looks[method] = theme.text, PLAIN[len(looks) % len(PLAIN)]
        elif method in engines:
            looks[method] = theme.text, MARKERS[-1 - engines.index(method) % len(MARKERS)]
        elif method not in KNOWN:
            found[method] = _free(method, set(found.values()))
    for method, (color, marker) in sorted(found.items()):
        if method not in looks:
            looks[method] = theme.methods[color], MARKERS[marker]
    return looks


def borrowers(looks: Mapping[str, Look]) -> set[str]:
    """The methods whose colour another one has that is known for longer, or comes before."""
    of_colors: dict[str, str] = {}
    for method in sorted(
        looks, key=lambda name: KNOWN.index(name) if name in KNOWN else len(KNOWN)
    ):
        of_colors.setdefault(looks[method][0], method)
    return set(looks) - set(of_colors.values())


def _free(method: str, taken: set[tuple[int, int]]) -> tuple[int, int]:
    """Colour and marker by number: a colour that nobody has, or else a pair that nobody has."""
    first = zlib.crc32(method.encode())
    colors, markers = len(LIGHT.methods), len(MARKERS)
    used = {color for color, _ in taken}
    for step in range(colors):
        if (color := (first + step) % colors) not in used:
            return color, first // colors % markers
    pairs = [
        ((first + step) % colors, (first // colors + step // colors) % markers)
        for step in range(colors * markers)
    ]
    return next((pair for pair in pairs if pair not in taken), pairs[0])


def _place(number: int) -> tuple[int, int]:
    colors = len(LIGHT.methods)
    return number % colors, (number + number // colors) % len(MARKERS)
