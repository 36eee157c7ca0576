"""What became of the tokens: in which layer each kind was dropped, and where rows left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tokendrop.compare.results.token_kinds import KINDS, Vocabulary
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Trace
from tokendrop.errors import UserError
from tokendrop.files import write_text
from tokendrop.models.prediction import Prediction
from tokendrop.stored import read_json

SAMPLES = 6
SAMPLE_TOKENS = 96  # of a longer text, the report shows the beginning


@dataclass(frozen=True)
class Sample:
    """A text and what a method kept of it.

    Attributes:
        label: what would be right, empty where that is not one for each text.
        answer: what the method answered.
        words: its tokens as text, a blank before each that begins a word.
        depth: for each, the layers it went through.
        left: layers after which the row left.
        tokens: of the whole text, which may be longer than what is shown.
    """

    label: str
    answer: str
    words: list[str]
    depth: list[int]
    left: int
    tokens: int


@dataclass(frozen=True)
class Fates:
    """The fates of a split's tokens and rows under one method.

    Attributes:
        layers: L, of the backbone.
        exits: L + 1 counts of rows, by the layers they went through.
        dropped: by kind of token, L + 1 counts: tokens that went through so many layers and were
            then dropped while their row went on; the last of those that stayed until it ended.
        samples: a few texts, the same under every method.
    """

    layers: int
    exits: list[int]
    dropped: dict[str, list[int]]
    samples: list[Sample]


class Counts:
    """Counts the fates of tokens and rows, one batch after the other."""

    def __init__(self, layers: int, vocabulary: Vocabulary) -> None:
        self._layers = layers
        self._vocabulary = vocabulary
        self._exits = torch.zeros(layers + 1, dtype=torch.long)
        self._dropped = torch.zeros(len(KINDS), layers + 1, dtype=torch.long)

    def update(self, trace: Trace, batch: Batch) -> None:
        """Add a batch and the trace of its pass."""
        buckets = self._layers + 1
        depth, left = trace.token_depth(), trace.row_depth()
        self._exits += torch.bincount(left, minlength=buckets)
        stayed = depth >= left.repeat_interleave(torch.tensor(trace.start.lengths))
        fate = torch.where(stayed, self._layers, depth)
        found = torch.bincount(
            self._vocabulary.kinds(batch) * buckets + fate, minlength=self._dropped.numel()
        )
        self._dropped += found.view_as(self._dropped)

    def fates(self, samples: Sequence[Sample]) -> Fates:
        """What was counted, with a few texts; kinds that no token is of are left out."""
        dropped = zip(KINDS, self._dropped.tolist(), strict=True)
        by_kind = {kind: counts for kind, counts in dropped if any(counts)}
        return Fates(self._layers, self._exits.tolist(), by_kind, list(samples))


def sample(prediction: Prediction, label: str, vocabulary: Vocabulary) -> Sample:
    """What a method kept of a text, as the report shows it."""
    return Sample(
        label,
        prediction.label,
        [vocabulary.text(token) for token in prediction.tokens[:SAMPLE_TOKENS]],
        prediction.token_depth[:SAMPLE_TOKENS],
        prediction.row_depth,
        len(prediction.tokens),
    )


def write_fates(path: Path, fates: Fates) -> None:
    """Write them whole or not at all."""
    write_text(path, json.dumps(asdict(fates), ensure_ascii=False))


def read_fates(path: Path) -> Fates:
    """
    Raises:
        UserError: the file is missing or torn.
    """
    cure = "delete the run's record in runs/ and compare again"
    if not path.is_file():
        raise UserError(f"{path} is missing, which a run record names: {cure}")
    return read_json(path, Fates, "a whole file of tokens' fates", cure)
