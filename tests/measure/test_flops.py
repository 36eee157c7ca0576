"""FLOPs against the published configurations, and what a trace says was kept."""

from __future__ import annotations

import pytest
import torch

from tokendrop.measure.flops import dense_flops, layer_flops
from tokendrop.measure.kept import Kept
from tokendrop.reducers.base import Shape
from tokendrop.reducers.power_bert import PowerBert
from tokendrop.testing.tiny import HIDDEN, LAYERS, built, run, tiny_model, tiny_rows, tiny_shape

BASE = Shape(layers=12, hidden=768, heads=12, intermediate=3072, classes=2, max_tokens=512)
RTE = (153, 125, 111, 105, 85, 80, 72, 48, 35, 27, 22, 5)
FIGURE = (80, 73, 70, 50, 50, 40, 33, 27, 20, 15, 13, 3)
STEPS = (64,) * 3 + (32,) * 3 + (16,) * 3 + (8,) * 3


def common_formula(tokens: int, configuration: tuple[int, ...]) -> int:
    """FLOPs of one row of BERT-base whose layers keep these counts."""
    kept = [min(tokens, count) for count in configuration]
    return sum(
        layer_flops([entered], left, BASE)
        for entered, left in zip([tokens, *kept], kept, strict=False)
    )


@pytest.mark.parametrize(
    ("configuration", "width", "dense", "reduced"),
    [
        (RTE, 256, 45_902_462_976, 13_936_886_784),
        (FIGURE, 128, 22_347_251_712, 7_429_377_024),
        (STEPS, 64, 11_022_630_912, 5_422_841_856),
    ],
)
def test_published_configurations(
    configuration: tuple[int, ...], width: int, dense: int, reduced: int
) -> None:
    assert common_formula(width, (width,) * 12) == dense
    assert common_formula(width, configuration) == reduced


@pytest.mark.parametrize(
    ("configuration", "tokens", "speedup"),
    [(FIGURE, 20, 1.1076), (FIGURE, 64, 1.6607), (FIGURE, 128, 3.0080), (RTE, 70, 1.2956)],
)
def test_short_rows_gain_less_than_the_padded_width_suggests(
    configuration: tuple[int, ...], tokens: int, speedup: float
) -> None:
    whole = common_formula(tokens, (tokens,) * 12)
    assert whole / common_formula(tokens, configuration) == pytest.approx(speedup, abs=5e-5)


def test_padding_costs_what_its_tokens_cost() -> None:
    model, shape = tiny_model("bert"), tiny_shape()
    assert dense_flops([4, 4], model, shape) > dense_flops([4, 2], model, shape)
    one = dense_flops([3], model, shape)
    assert dense_flops([3] * 7, model, shape) == 7 * one


def test_projecting_only_kept_tokens_is_cheaper_by_just_that() -> None:
    shape = tiny_shape()
    saved = layer_flops([10, 4], 6, shape) - layer_flops([10, 4], 6, shape, projected=6)
    assert saved == 2 * 8 * HIDDEN**2


def test_kept_shares_are_means_over_rows() -> None:
    rows = tiny_rows([4, 8])
    kept = Kept(LAYERS)
    kept.update(run(tiny_model("bert"), built(PowerBert(configuration=[4, 2, 2])), rows).trace)
    found = kept.compute()
    torch.testing.assert_close(found["per_layer"], torch.tensor([0.75, 0.375, 0.375]))
    assert float(found["tokens"]) == pytest.approx(0.5)
    assert float(found["layers"]) == LAYERS
