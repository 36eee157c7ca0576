"""Dropout that costs a packed training step a fiftieth of its time instead of a tenth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 1 << 16  # random bits are read 16 at a time


def draw(like: Tensor, probability: float) -> tuple[Tensor | None, float]:
    """Which elements stay, a byte of 0 or 1 each, or None for all; and the scale of those.

    torch draws one random number after the other for each element on a CPU; here four elements
    share one, so the probability is a multiple of 1/65536, which the scale goes by.
    """
    cut = round(probability * STEPS)
    if cut == 0:
        return None, 1.0
    scale = 1 / (1 - cut / STEPS) if cut < STEPS else 0.0
    if like.device.type != "cpu":
        return torch.empty_like(like, dtype=torch.int8).bernoulli_(1 - cut / STEPS), scale
    count = like.numel()
    drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = drawn.view(torch.int16)[:count].view(like.shape) >= cut - STEPS // 2
    # a byte becomes a number three times as fast as a truth value does
    return kept.view(torch.int8), scale


def dropout(states: Tensor, probability: float, training: bool) -> Tensor:
    """Zero each element with a probability and scale up the others, as torch's does."""
    if not training or probability == 0:
        return states
    # a compiler makes the numbers where it uses them
    if states.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(states, probability)
    kept, scale = draw(states, probability)
    return states if kept is None else states * (kept.to(states.dtype) * scale)
