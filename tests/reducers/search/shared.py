"""What the search's shared evaluation must say: what each configuration would say alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tokendrop.data.batching import Batches
from tokendrop.data.split import Split
from tokendrop.measure.flops import dense_flops, pass_flops
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.length_adaptive.search.candidates import Candidates, draw_rows
from tokendrop.tasks import Task
from tokendrop.testing.tiny import LAYERS, MAX_TOKENS

TRIED = [(32, 32, 32), (20, 9, 9), (20, 9, 2), (20, 10, 4), (31, 9, 2), (12, 12, 12)]


@torch.inference_mode()
def check_shared_evaluation(
    model_of: Callable[[LengthAdaptive], TokenDropModel], split: Split, task: Task, **options: Any
) -> list[float]:
    """Scores, logits and FLOPs are those of running every configuration alone on all rows.

    Returns:
        the scores.
    """
    rows = draw_rows(split, 1000)
    whole = Batches(split, [rows])[0]
    model = model_of(LengthAdaptive(**options))
    candidates = Candidates(model, split, rows, task)
    scores, shared = candidates.scores_and_flops(TRIED)
    separate = 0
    for configuration, score in zip(TRIED, scores, strict=True):
        reducer = LengthAdaptive(**options, configuration=list(configuration))
        alone = model_of(reducer).eval()
        encoded = alone(whole)
        expected = task.scores(split)
        expected.update(encoded.logits, whole)
        assert score == pytest.approx(float(expected.compute()[task.metric]))
        for part in candidates._parts:
            part.run([configuration])
        logits = torch.cat([part.logits(configuration) for part in candidates._parts])
        torch.testing.assert_close(logits, encoded.logits, atol=1e-5, rtol=0)
        flops = pass_flops(encoded.trace, reducer, alone.backbone, alone.shape)
        assert candidates.cost(configuration) * len(rows) == pytest.approx(flops, rel=1e-12)
        fresh = Candidates(model, split, rows, task)
        assert fresh.scores_and_flops([configuration]) == ([score], flops)
        separate += flops
    # layers that several configurations begin with are run and counted once
    assert 0 < shared < separate
    # what is asked again is answered alike, and was counted
    assert candidates.scores_and_flops(TRIED) == (scores, 0)
    full = dense_flops(split.lengths, model.backbone, model.shape) / len(rows)
    assert candidates.cost((MAX_TOKENS,) * LAYERS) == pytest.approx(full)
    return scores
