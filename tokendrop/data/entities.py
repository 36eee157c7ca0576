"""Named entities in sequences of tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_IOB = re.compile(r"O|[BI]-.+")

Entity = tuple[str, int, int]


def is_iob(tags: Iterable[str]) -> bool:
    """Whether these are tags of entities: O, or B- or I- with a type."""
    return all(_IOB.fullmatch(tag) for tag in tags)


def entities(tags: Sequence[str]) -> set[Entity]:
    """Type, first and last word of each entity in a sentence, by the rules of conlleval.

    An entity starts at B-, and at an I- that does not continue one of its type (Tjong Kim Sang
    and Buchholz, CoNLL-2000), so IOB1 and IOB2 are read alike.
    """
    found: set[Entity] = set()
    start, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, named = tag.partition("-")
        if kind and (prefix != "I" or named != kind):
            found.add((kind, start, place - 1))
            kind = ""
        if named and not kind:
            start, kind = place, named
    return found


def to_iob2(tags: Sequence[str]) -> list[str]:
    """The same entities with B- at the first word of each; tags that are no IOB stay."""
    starts = {start for _, start, _ in entities(tags)} if is_iob(tags) else set()
    return [f"B-{tag[2:]}" if place in starts else tag for place, tag in enumerate(tags)]
