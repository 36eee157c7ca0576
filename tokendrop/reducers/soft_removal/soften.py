"""AdapLeR's soft removal: how training makes tokens go away that are still there. Section 3."""

from __future__ import annotations

import torch
from torch import Tensor

from tokendrop.engine.by_row import row_softmax, row_sum
from tokendrop.engine.layout import Layout
from tokendrop.engine.ragged import kernels_on
from tokendrop.reducers.soft_removal import FLOOR, GONE


def soften(
    logits: Tensor,
    mask: Tensor,
    bias: Tensor,
    eta: Tensor,
    theta: Tensor | None,
    sharpness: Tensor,
    layout: Layout,
) -> tuple[Tensor, Tensor, Tensor]:
    """Let the tokens fade that contribute less than eta of their row's uniform share.

    Args:
        logits: (T,) the predictor's.
        mask: (T,) m^l, how far each token has survived, from 0 to 1.
        bias: (T,) that each token has as a key so far, 0 or less.
        eta: () of the layer.
        theta: () of the layer, None for the first, which has none. It changes nothing but has a
            gradient: that of a multiplier of [CLS] that stays 1.
        sharpness: () lambda, how steep the fall below the threshold is.
        layout: where the rows lie.

    Returns:
        what each token contributes, a softmax over its row in which it weighs as much as it
        survives; m^(l+1); and the layer's key bias. Each (T,) in fp32.
    """
    if kernels_on(logits.device):
        from tokendrop.reducers.soft_removal.operators import soften_rows

        states = (x.float().contiguous() for x in (logits, mask, bias))
        return soften_rows(*states, eta, theta, sharpness, layout.offsets)
    if theta is not None:
        logits = logits + layout.is_first * ((theta - theta.detach()) / (theta.detach() + 1e-7))
    contributions = row_softmax(logits, layout, mask)
    editable = mask.masked_fill(layout.is_first, 0)
    threshold = (eta / (1 + row_sum(editable, layout)))[layout.row]
    change = edit(contributions, threshold, sharpness) * editable
    after = torch.where(mask > GONE, mask * change.exp(), mask)
    return contributions, after, (bias + change).clamp_min(FLOOR)


def edit(contributions: Tensor, threshold: Tensor, sharpness: Tensor) -> Tensor:
    """(T,) the bias a token gains: near 0 above its threshold, by -lambda at 0."""
    margin = 0.1 / sharpness  # beta / lambda
    below = sharpness / threshold * (contributions - threshold) - margin
    above = (contributions - 1) * margin / (1 - threshold + 1e-7)
    return torch.minimum(below, above).clamp(FLOOR, 0)
