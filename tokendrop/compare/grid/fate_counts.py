"""Counting, while a split is evaluated, where tokens are dropped and where rows leave."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tokendrop.compare.results.fates import Fates, Sample
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Trace
from tokendrop.measure.token_kinds import KINDS, Vocabulary
from tokendrop.models.prediction import Prediction

SAMPLE_TOKENS = 96  # of a longer text, the report shows the beginning


class FateCounts:
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

    def fates(self, samples: Sequence[Sample], row_tokens: Sequence[int]) -> Fates:
        """What was counted, without the kinds that no token is of.

        Args:
            samples: a few texts.
            row_tokens: of each row of the split, in its order; batches have another.
        """
        dropped = zip(KINDS, self._dropped.tolist(), strict=True)
        by_kind = {kind: counts for kind, counts in dropped if any(counts)}
        return Fates(self._layers, self._exits.tolist(), by_kind, list(samples), list(row_tokens))


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
