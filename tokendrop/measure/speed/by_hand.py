"""Methods set by hand to keep a given share, so that the clock needs no trained model.

Each pays for everything that it pays for when trained: predictors, softmaxes, rankings, exit heads.
Where a method's decisions come from learned weights (AdapLeR, DACT-BERT), they are worked out in
full and then replaced by drawn ones, which differ from row to row as learned ones do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from tokendrop.engine.packed import Batch
from tokendrop.reducers.adapler import AdapLeR
from tokendrop.reducers.base import Decision, Reducer, Shape, View
from tokendrop.reducers.dact_bert import DactBert
from tokendrop.reducers.length_adaptive import LengthAdaptive
from tokendrop.reducers.power_bert import PowerBert


class DrawnAdapLeR(AdapLeR):
    """AdapLeR whose tokens go at drawn depths."""

    depth: Tensor  # (T,) layers that each original token takes part in

    def before_layer(self, view: View) -> Decision | None:
        super().before_layer(view)
        return Decision(keep=self.depth[view.layout.tokens] > view.layer)


class DrawnDactBert(DactBert):
    """DACT-BERT whose rows leave after a drawn number of layers."""

    depth: Tensor  # (B,)

    def after_layer(self, view: View) -> Decision | None:
        decision = super().after_layer(view)
        assert decision is not None
        return replace(decision, leave=self.depth[view.layout.rows] <= view.layer + 1)


def adapler(share: float, batch: Batch, shape: Shape) -> Reducer:
    """A token takes part in l layers or more with probability g^l; [CLS] in all of them."""
    decay = _solve(lambda g: sum(g**layer for layer in range(1, shape.layers + 1)), share, shape)
    reducer = DrawnAdapLeR()
    reducer.build(shape)
    depth = _depths(decay, len(batch.input_ids), 0, shape)
    depth[batch.layout.first.cpu()] = shape.layers
    reducer.depth = nn.Buffer(depth)
    return reducer


def dact_bert(share: float, batch: Batch, shape: Shape) -> Reducer:
    """A row goes through more than l layers with probability g^l, the first one always."""
    decay = _solve(lambda g: sum(g**layer for layer in range(shape.layers)), share, shape)
    reducer = DrawnDactBert(pooling="mean")
    reducer.build(shape)
    reducer.depth = nn.Buffer(_depths(decay, len(batch), 1, shape))
    return reducer


def power_bert(share: float, batch: Batch, shape: Shape) -> Reducer:
    """Layer l keeps the share g^l of every row."""
    reducer = PowerBert(configuration=_configuration(share, shape), retention_basis="row")
    reducer.build(shape)
    return reducer


def length_adaptive(share: float, batch: Batch, shape: Shape) -> Reducer:
    """Layer l keeps the share g^l of every row."""
    reducer = LengthAdaptive(configuration=_configuration(share, shape), length_basis="row")
    reducer.build(shape)
    return reducer


METHODS: dict[str, Callable[[float, Batch, Shape], Reducer]] = {
    "adapler": adapler,
    "dact_bert": dact_bert,
    "length_adaptive": length_adaptive,
    "power_bert": power_bert,
}


def _configuration(share: float, shape: Shape) -> list[int]:
    """Tokens that leave each layer, of ``max_tokens``, at a share of the linear layers' FLOPs.

    A layer's query, key and value, a quarter of them, run on what enters it.
    """

    def cost(g: float) -> float:
        return sum(0.25 * g ** (x - 1) + 0.75 * g**x for x in range(1, shape.layers + 1))

    decay = _solve(cost, share, shape)
    return [max(2, round(shape.max_tokens * decay**x)) for x in range(1, shape.layers + 1)]


def _solve(layers: Callable[[float], float], share: float, shape: Shape) -> float:
    """The g between 0 and 1 at which a growing function gives this share of all layers."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if layers(middle) < share * shape.layers else (low, middle)
    return high


def _depths(decay: float, count: int, least: int, shape: Shape) -> Tensor:
    """(count,) depths d >= least, with P(d >= least + l) = decay^l, evenly drawn and shuffled."""
    generator = torch.Generator().manual_seed(0)
    drawn = (torch.randperm(count, generator=generator) + 0.5) / count
    survives = torch.tensor([decay**layer for layer in range(1, shape.layers + 1 - least)])
    return least + (drawn[:, None] <= survives).sum(1)
