"""The small networks that tell AdapLeR what each token contributes to the answer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 32  # hidden units of a predictor


class ContributionPredictor(nn.Module):
    """What each token contributes, before the softmax over its row. AdapLeR, section 3."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(hidden, WIDTH)
        self.score = nn.Linear(WIDTH, 1)
        for linear in (self.hidden, self.score):
            nn.init.trunc_normal_(linear.weight, std=0.02, a=-0.04, b=0.04)
            nn.init.zeros_(linear.bias)

    def forward(self, states: Tensor) -> Tensor:
        """(T, hidden) to (T,)."""
        return self.score(F.gelu(self.hidden(states))).squeeze(-1)
