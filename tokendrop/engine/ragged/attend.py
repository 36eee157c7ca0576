"""Attention of a packed batch by the kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from tokendrop.engine.layout import Layout
from tokendrop.engine.positions import RelativeBias, SlidingWindow
from tokendrop.engine.probabilities import Received, autocast
from tokendrop.engine.ragged.operators import ragged_attention, ragged_received


def attend_ragged(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    received: Received | None,
    key_bias: Tensor | None,
    window: SlidingWindow | None,
    relative: RelativeBias | None,
    dropout: float,
) -> tuple[Tensor, Tensor | None]:
    """What :func:`tokendrop.engine.attention.attend` says, on a device that has the kernels."""
    query, key, value = _in_rows(*autocast(query, key, value))
    bias = None if key_bias is None else key_bias.float()
    places = None if window is None else window.positions
    places = places if relative is None else relative.positions(layout)
    # drawn on the host, so that the device is not waited for
    seed = int(torch.randint(2**31, (), device="cpu")) if dropout > 0 else 0
    shared = (
        bias,
        places,
        None if relative is None else relative.weight.float(),
        None if relative is None else relative.bucket,
        layout.offsets,
        layout.tiles,
        len(layout.tokens),
        layout.pairs,
        -1 if window is None else window.reach,
        dropout,
        seed,
    )
    context, logsumexp = ragged_attention(query, key, value, *shared)
    sums = None
    if received is not None:
        with torch.no_grad():
            sums = ragged_received(query, key, logsumexp, *shared, received == "with_diagonal")
    return context.flatten(1), sums


def _in_rows(*states: Tensor) -> tuple[Tensor, ...]:
    """With the numbers of a token side by side, as the kernels read them."""
    return tuple(x if _in_a_row(x) else x.contiguous() for x in states)


def _in_a_row(states: Tensor) -> bool:
    _, of_head, of_number = states.stride()
    return of_number == 1 and of_head == states.shape[2]
