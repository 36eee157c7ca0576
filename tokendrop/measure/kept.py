"""How much of the input a method processed, read from traces."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from tokendrop.engine.trace import Trace


class Kept(Metric):
    """Means over rows of what was processed.

    ``compute`` gives ``tokens``, the share of a row's token-layers that went through the
    feed-forward part (1 for the dense model), ``layers``, the number of layers a row went
    through, and ``per_layer``, a (layers,) tensor of the share of a row's tokens in each layer.
    """

    rows: Tensor
    layers: Tensor
    per_layer: Tensor

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.add_state("rows", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("layers", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("per_layer", torch.zeros(layers), dist_reduce_fx="sum")

    def update(self, trace: Trace) -> None:
        # all of it is known to the host, so no device is waited for
        start = torch.tensor(trace.start.lengths)
        shares = torch.zeros(len(self.per_layer))
        for layer in trace.layers:
            left = layer.feed_forward
            shares[layer.index] = (torch.tensor(left.lengths) / start[list(left.origin)]).sum()
        self.rows += len(start)
        self.layers += trace.row_depth().sum()
        self.per_layer += shares.to(self.per_layer.device, non_blocking=True)

    def compute(self) -> dict[str, Tensor]:
        per_layer = self.per_layer / self.rows
        return {
            "tokens": per_layer.mean(),
            "layers": self.layers / self.rows,
            "per_layer": per_layer,
        }
