"""Dropout that costs a packed training step a fiftieth of its time instead of a tenth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 1 << 16  # random bits are read 16 at a time


def dropout(states: Tensor, probability: float, training: bool) -> Tensor:
    """Zero each element with a probability and scale up the others, as torch's does.

    torch draws one random number after the other for each element on a CPU; here four elements
    share one, so the probability is a multiple of 1/65536, which the scale goes by.
    """
    cut = round(probability * STEPS)
    if not training or cut == 0:
        return states
    if states.device.type != "cpu" or cut == STEPS:
        return F.dropout(states, probability)
    count = states.numel()
    drawn = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
    kept = drawn.view(torch.int16)[:count].view(states.shape) >= cut - STEPS // 2
    return states * (kept.to(states.dtype) * (1 / (1 - cut / STEPS)))
