"""What a layer does token by token, before and after its attention."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tokendrop.engine.linear import prepares_itself, spare_rows
from tokendrop.families import Family

SLICE = 512  # tokens that go through the feed-forward part at a time


class Parts:
    """Operator by operator, as a family describes them.

    Attributes:
        reused: whether a layer may leave its states where an earlier one left its own.
    """

    reused = False

    def __init__(self, family: Family, hidden: Tensor) -> None:
        """
        Args:
            family: of the model.
            hidden: (T, hidden) what enters the first layer.
        """
        self.family = family
        self._prepares = prepares_itself(hidden)

    def spare_rows(self, tokens: int) -> int:
        """Rows to add to so many, because oneDNN is prepared for products of this number."""
        return spare_rows(tokens) if self._prepares else 0

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each (T, heads, head size), not yet turned."""
        return self.family.project(layer, hidden)

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        """Output projection, dropout, residual and LayerNorm of the attention sub-layer."""
        return self.family.close_attention(layer, context, residual)

    def feed_forward(self, layer: Any, hidden: Tensor) -> Tensor:
        """The feed-forward sub-layer, in inference on a processor in slices: larger blocks of
        memory are handed back to the system after each use, and faulting them in again costs more
        than the activation.
        """
        if hidden.is_cuda or torch.is_grad_enabled() or len(hidden) <= SLICE:
            return self.family.feed_forward(layer, hidden)
        # nearly equal ones, as a short one is slow for its length, and of few different sizes
        slices = math.ceil(len(hidden) / SLICE)
        size = 32 * math.ceil(len(hidden) / slices / 32)
        return torch.cat([self.family.feed_forward(layer, part) for part in hidden.split(size)])
