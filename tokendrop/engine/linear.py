"""Linear layers at the full speed of the processor, however few tokens are left.

A matrix product over few rows spends its time on bringing the weights into order, which oneDNN can
do once and for all. That keeps a shrinking batch as fast per token as a whole one, and it serves
the dense model as well as every method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokendrop.engine.casting import cast, is_plain

_LOOKED_AT = 32  # outputs of a layer, at the least; more than there are heads in it


@dataclass(frozen=True, eq=False)
class _Source:
    """The state of a layer's weights when a copy was made of them."""

    version: int
    seen: Sequence[Tensor]  # views, so that no other weight can get this address
    values: Sequence[Tensor]

    @classmethod
    def of(cls, weight: Tensor) -> _Source:
        # one of each input, and some outputs: where a unit is dead, or of another head than the one
        # that was written to, nothing of the first may have changed
        apart = max(1, len(weight) // _LOOKED_AT)
        seen = [weight.detach()[0], weight.detach()[::apart, 0]]
        return cls(weight._version, seen, [values.clone() for values in seen])

    def is_still(self, weight: Tensor) -> bool:
        # fused optimisers and writes through .data leave the version as it was
        return (
            self.version == weight._version
            and self.seen[0].data_ptr() == weight.data_ptr()
            and all(map(torch.equal, self.seen, self.values))
        )


@dataclass(frozen=True, eq=False)
class _Reordered:
    """The weights of some layers below each other, in oneDNN's order."""

    weight: Tensor
    sources: list[_Source]

    @classmethod
    def of(cls, layers: Sequence[nn.Linear]) -> _Reordered:
        with torch.inference_mode(False), torch.no_grad():
            weight = torch.cat([layer.weight for layer in layers])
            reordered = torch.ops.mkldnn._reorder_linear_weight(weight)
            return cls(reordered, [_Source.of(layer.weight) for layer in layers])

    def fits(self, layers: Sequence[nn.Linear]) -> bool:
        pairs = zip(self.sources, layers, strict=True)
        return all(source.is_still(layer.weight) for source, layer in pairs)


_LINEAR = torch.ops.mkldnn._linear_pointwise.default
_KNOWN: WeakKeyDictionary[nn.Linear, _Reordered] = WeakKeyDictionary()


def linear(layer: nn.Linear, states: Tensor) -> Tensor:
    """``layer(states)`` of (T, in); see :func:`linears`."""
    return linears([layer], states)[0]


def linears(layers: Sequence[nn.Linear], states: Tensor) -> Sequence[Tensor]:
    """What layers of a kind make of the same (T, in) states.

    In inference on a CPU they are one product with weights in oneDNN's order. That copy is made at
    the first use and again when the weights have changed; it takes as much memory as they do, and
    goes with the first of the layers, which is always asked for together with the same others.
    Under autocast on a GPU they are one product with weights that were cast for the whole pass.
    While they are compiled they stay what they are: a compiler has its own order and casts. So do
    those of which one is no plain linear layer.
    """
    if torch.compiler.is_compiling() or not all(map(is_plain, layers)):
        return [layer(states) for layer in layers]
    first = layers[0]
    if (lower := cast(layers)) is not None:
        weight, bias = lower
        return _split(F.linear(states.to(weight.dtype), weight, bias), layers)
    if not _can_reorder(first.weight, states):
        return [layer(states) for layer in layers]
    known = _KNOWN.get(first)
    if known is None or not known.fits(layers):
        known = _KNOWN[first] = _Reordered.of(layers)
    bias = first.bias
    if bias is not None and len(layers) > 1:
        bias = torch.cat([layer.bias for layer in layers])
    return _split(_LINEAR(states, known.weight, bias, "none", [], ""), layers)


def _split(result: Tensor, layers: Sequence[nn.Linear]) -> Sequence[Tensor]:
    if len(layers) == 1:
        return [result]
    return torch.split_with_sizes(result, [layer.out_features for layer in layers], 1)


def _can_reorder(weight: Tensor, states: Tensor) -> bool:
    same = weight.dtype == states.dtype
    return same and takes_reordered(states) and weight.is_cpu and not weight.is_inference()


_AVAILABLE = torch.backends.mkldnn.is_available()


def takes_reordered(states: Tensor) -> bool:
    """Whether products of these (T, in) states can use weights in oneDNN's order."""
    return (
        _AVAILABLE
        and states.is_cpu
        and states.dtype == torch.float32
        and states.shape[0] > 0
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def prepares_itself(states: Tensor) -> bool:
    """Whether products of these (T, in) states are oneDNN's, which prepares itself for each T."""
    lower = torch.is_autocast_enabled("cpu") or states.dtype in (torch.bfloat16, torch.float16)
    return takes_reordered(states) or (_AVAILABLE and states.is_cpu and lower)


def spare_rows(tokens: int) -> int:
    """Rows to add to a product of so many, so that few different numbers of rows occur.

    oneDNN prepares itself for every number of rows that it has not seen, which takes as long as a
    product of 50 to 100 rows, and a method that decides by content makes a new number in every
    layer of every batch. In half precision it also keeps half a megabyte for each, for good.
    """
    step = 4 if tokens <= 128 else 8 if tokens <= 512 else 32
    return -tokens % step


def with_room(values: Tensor, spare: int) -> Tensor:
    """(T, ...) values with so many rows of zeros behind them."""
    return F.pad(values, [0, 0] * (values.ndim - 1) + [0, spare]) if spare else values
