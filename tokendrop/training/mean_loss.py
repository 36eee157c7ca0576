"""The loss of a split, whatever its batches are and however many processes share them."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanLoss(Metric):
    """The mean of the losses of batches, each counted by what it was divided by.

    Lightning's own mean over processes rounds half of an odd number of rows down, and torchmetrics
    leaves out a loss that is not a number, or all weights.
    """

    summed: Tensor
    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("summed", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("weight", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, loss: Tensor, weight: Tensor | int) -> None:
        self.summed += loss.detach().float() * weight
        self.weight += weight

    def compute(self) -> Tensor:
        return self.summed / self.weight
