"""The file of a run that says where tokens were dropped and where rows left."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tokendrop.compare.results.records import check_there
from tokendrop.files import write_text
from tokendrop.stored import read_json


@dataclass(frozen=True)
class Sample:
    """A text of the test split, and how far a method took its tokens.

    Attributes:
        label: the right answer; empty for tasks that have no single one for a text.
        answer: the method's.
        words: the first tokens as text, with a blank before each that begins a word.
        depth: for each of them, the number of layers it went through.
        left: the number of layers that the row went through.
        tokens: how many the whole text has, which may be more than ``words``.
    """

    label: str
    answer: str
    words: list[str]
    depth: list[int]
    left: int
    tokens: int

    def __post_init__(self) -> None:
        if len(self.words) != len(self.depth):
            raise ValueError(f"{len(self.words)} words have {len(self.depth)} depths")


@dataclass(frozen=True)
class Fates:
    """Where the tokens of the test split were dropped and its rows left, under one method.

    Attributes:
        layers: L, the layers of the backbone.
        exits: L + 1 counts: entry l is of the rows that went through l layers.
        dropped: for each kind of token L + 1 counts: entry l < L is of the tokens that were dropped
            after l layers while their row went on, entry L of those that were never dropped, even
            if their row left early.
        samples: a few texts, the same under every method.
        row_tokens: of each row of the split, in its order; none in files of earlier versions, whose
            ``lengths`` are in the order of the batches, which is not that of the answers.
    """

    layers: int
    exits: list[int]
    dropped: dict[str, list[int]]
    samples: list[Sample]
    row_tokens: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for counts in (self.exits, *self.dropped.values()):
            if len(counts) != self.layers + 1 or min(counts) < 0:
                raise ValueError(f"{counts} are no counts of {self.layers} layers and the end")
        if len(self.samples) > sum(self.exits):
            raise ValueError(f"{len(self.samples)} samples are of {sum(self.exits)} rows")
        if empty := [kind for kind, counts in self.dropped.items() if not any(counts)]:
            raise ValueError(f"no token is of the kind {empty[0]!r}")


def spread(rows: int, count: int) -> list[int]:
    """So many rows at equal distances: splits are often sorted by class."""
    return [row * rows // count for row in range(count)] if rows > count else list(range(rows))


def write_fates(path: Path, fates: Fates) -> None:
    """Write the file, whole or not at all."""
    write_text(path, json.dumps(asdict(fates), ensure_ascii=False), summed=True)


def read_fates(path: Path) -> Fates:
    """Read the file.

    Raises:
        UserError: it is missing or torn.
    """
    cure = "delete the run's record in runs/ and compare again"
    check_there(path)
    return read_json(path, Fates, "a whole file of tokens' fates", cure, others="ignore")
