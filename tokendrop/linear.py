"""Linear layers at the full speed of the processor, however few tokens are left.

A matrix product over few rows spends its time on bringing the weights into order, which oneDNN can
do once and for all. That keeps a shrinking batch as fast per token as a whole one, and it serves
the dense model as well as every method.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class _Reordered:
    """The weights of a layer in oneDNN's order, and what they were made of."""

    weight: Tensor
    version: int
    address: int
    first_row: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> _Reordered:
        with torch.inference_mode(False):
            reordered = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
            row = weight[0].detach().clone()
        return cls(reordered, weight._version, weight.data_ptr(), row)

    def fits(self, weight: Tensor) -> bool:
        same = self.version == weight._version and self.address == weight.data_ptr()
        # fused optimisers and writes through .data leave the version as it was
        return same and torch.equal(self.first_row, weight[0])


_KNOWN: WeakKeyDictionary[nn.Linear, _Reordered] = WeakKeyDictionary()


def linear(layer: nn.Linear, states: Tensor) -> Tensor:
    """``layer(states)`` of (T, in); in inference on a CPU with the weights in oneDNN's order.

    The reordered copy is made at the first use and again when the weights have changed; it takes
    as much memory as they do and goes with the layer.
    """
    if not _can_reorder(layer, states):
        return layer(states)
    known = _KNOWN.get(layer)
    if known is None or not known.fits(layer.weight):
        known = _KNOWN[layer] = _Reordered.of(layer.weight)
    operator = torch.ops.mkldnn._linear_pointwise
    result: Tensor = operator(states, known.weight, layer.bias, "none", [], "")
    return result


def _can_reorder(layer: nn.Linear, states: Tensor) -> bool:
    weight = layer.weight
    return (
        not torch.is_grad_enabled()
        and weight.device.type == "cpu"
        and weight.dtype == states.dtype == torch.float32
        and len(states) > 0
        and not weight.is_inference()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )
