"""One pass of a trained method over a split: its answers, its cost, and what it kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import torch

from tokendrop.compare.grid.fate_counts import FateCounts
from tokendrop.data import TextData
from tokendrop.data.batching import padded_lengths
from tokendrop.engine.packed import Batch
from tokendrop.measure.flops import counted_flops, dense_flops, padding_flops, pass_flops
from tokendrop.measure.kept import Kept
from tokendrop.measure.token_kinds import Vocabulary
from tokendrop.models.model import TokenDropModel
from tokendrop.progress import tracked
from tokendrop.tasks import Task


@dataclass(frozen=True, eq=False)
class Answered:
    """How a method or an engine answered a split.

    Attributes:
        metrics: by name, of the task.
        examples: the answers, see :meth:`tokendrop.tasks.Scores.examples`.
        flops: summed over the split: the method, the packed model with nothing dropped, and the
            plain model on padded batches of the same rows.
    """

    metrics: dict[str, float]
    examples: pd.DataFrame
    flops: dict[str, float]


@dataclass(frozen=True, eq=False)
class Evaluation(Answered):
    """What a method did on a split.

    Attributes:
        kept: see :class:`tokendrop.measure.kept.Kept`.
        counts: the fates of tokens and rows.
    """

    kept: dict[str, Any]
    counts: FateCounts


@torch.inference_mode()
def evaluate(
    model: TokenDropModel, task: Task, data: TextData, name: Literal["dev", "test"]
) -> Evaluation:
    """Evaluate on a split in batches of its own order.

    Raises:
        RuntimeError: the operators that ran in the first batch do not agree with the closed form
            within 1 %, so the FLOPs could not be trusted.
    """
    model.eval()
    device = model.backbone.device
    kept = Kept(model.shape.layers)
    counts = FateCounts(model.shape.layers, Vocabulary(model.tokenizer))
    loader = data.test_dataloader() if name == "test" else data.val_dataloader()
    split = data.splits[name]
    scores = task.scores(split).to(device)
    spent = 0
    for number, batch in enumerate(tracked(loader, f"evaluate on {name}")):
        batch = batch.to(device)
        encoded = model(batch)
        scores.update(encoded.logits, batch)
        kept.update(encoded.trace)
        counts.update(encoded.trace, batch)
        spent += pass_flops(encoded.trace, model.reducer, model.backbone, model.shape)
        if number == 0:
            _check(model, batch)
    padded = padded_lengths(split.lengths, data.settings.batch_size)
    dense = dense_flops(split.lengths, model.backbone, model.shape)
    every = {
        "method": float(spent),
        "packed_dense": float(dense),
        "padded_dense": float(dense_flops(padded, model.backbone, model.shape)),
    }
    found = kept.compute()
    return Evaluation(
        {name: float(value) for name, value in scores.compute().items()},
        scores.examples(),
        every,
        {
            "tokens": float(found["tokens"]),
            "layers": float(found["layers"]),
            "per_layer": [round(share, 6) for share in found["per_layer"].tolist()],
        },
        counts,
    )


def _check(model: TokenDropModel, batch: Batch) -> None:
    # of one pass: what is counted runs operator by operator, with spare rows of its own
    counted, trace = counted_flops(model.backbone, batch, model.reducer)
    formula = pass_flops(trace, model.reducer, model.backbone, model.shape)
    formula += padding_flops(trace, model.shape)
    if abs(formula - counted) > 0.01 * counted:
        raise RuntimeError(
            f"FLOPs by formula ({formula:,}) and as counted ({counted:,}) differ by more than 1 %: "
            "the reducer's flops() does not count its operators"
        )
