"""The clock of a training step: padded against packed, interleaved."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.measure.clock import (
    AGAIN,
    PACKED_DENSE,
    PADDED,
    interleave,
    median_ratio,
    noise,
    pad_rows,
)
from tokendrop.measure.measures import THROUGHPUT_PADDED
from tokendrop.measure.speed.shapes import random_rows
from tokendrop.reducers.dense import Dense


def time_training(
    model: PreTrainedModel, shape: str, mix: str, batch_size: int, rounds: int, seconds: float
) -> dict[str, Any]:
    """A step of each: forward, loss, backward, gradient clipping and AdamW, as methods are trained.

    Args:
        model: a random classifier; copies of it are trained.
        shape: the model's name in MODEL_SHAPES.
        mix: see LENGTH_MIXES.
        batch_size: rows of a step.
        rounds: steps of each contender, at most.
        seconds: after which no more rounds begin.
    """
    device = model.device
    rows = random_rows(mix, batch_size)
    labels = torch.arange(batch_size, device=device) % 2
    batch = Batch.pack(sorted(rows, key=len)).to(device)
    padded = pad_rows(rows, 0, device)
    packed_model, padded_model = (deepcopy(model).train() for _ in range(2))
    dense = Dense()
    packed = _step(packed_model, lambda: encode(packed_model, batch, dense).logits, labels)
    plain = _step(padded_model, lambda: padded_model(**padded).logits, labels)
    contenders = {PACKED_DENSE: packed, AGAIN: packed, PADDED: plain}
    note = f"time training steps of {shape}, {batch_size} {mix} rows"
    times = interleave(contenders, rounds, device, note, seconds)
    return {
        "model_shape": shape,
        "length_mix": mix,
        "batch_size": batch_size,
        THROUGHPUT_PADDED.name: median_ratio(times[PADDED], times[PACKED_DENSE]),
        "noise": noise(times[AGAIN], times[PACKED_DENSE]),
        "milliseconds": 1000 * statistics.median(times[PACKED_DENSE]),
        "rounds": len(times[PACKED_DENSE]),
    }


def _step(model: nn.Module, forward: Callable[[], Tensor], labels: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(forward(), labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step
