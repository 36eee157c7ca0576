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
from tokendrop.errors import UserError
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
        UserError: the operators that ran in the first batch do not agree with the closed form
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
            check_flops(model, batch)
    padded = padded_lengths(split.lengths, data.settings.batch_size)
    dense = dense_flops(split.lengths, model.backbone, model.shape)
    every = {
        "method": float(spent),
        "packed_dense": float(dense),
        "padded_dense": float(dense_flops(padded, model.backbone, model.shape)),
    }
    found = kept.compute()
    return Evaluation(
        scores.values(task.metric),
        scores.examples(),
        every,
        {
            "tokens": float(found["tokens"]),
            "layers": float(found["layers"]),
            "per_layer": [round(share, 6) for share in found["per_layer"].tolist()],
        },
        counts,
    )


def check_flops(model: TokenDropModel, batch: Batch) -> None:
    """
    Raises:
        UserError: the FLOPs that a method counts are not those that run.
    """
    # of one pass: what is counted runs operator by operator, with spare rows of its own
    counted, trace = counted_flops(model.backbone, batch, model.reducer)
    formula = pass_flops(trace, model.reducer, model.backbone, model.shape)
    formula += padding_flops(trace, model.shape)
    if abs(formula - counted) > 0.01 * counted:
        parts = getattr(model.reducer, "parts", [model.reducer])
        functions = " or ".join(dict.fromkeys(f"{type(part).__name__}.flops" for part in parts))
        raise UserError(
            f"{functions} is wrong: of a batch for which {counted:,} FLOPs ran {formula:,} were "
            "told, of which 1 % may be missing: count the matrix products of the method's own "
            "layers, two FLOPs for a multiply-add, for each token that went through them"
        )
