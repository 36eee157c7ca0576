"""How many tokens leave each layer, for comparators that differ only in which ones they keep."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tokendrop.errors import UserError
from tokendrop.packed import Layout
from tokendrop.reducers.base import Stage
from tokendrop.reducers.configuration import check_configuration


def check_schedule(ratio: float, configuration: Sequence[int] | None, layers: int) -> None:
    """Refuse a schedule that :func:`tokens_to_keep` cannot follow.

    Raises:
        UserError: the ratio is out of range, or the configuration does not fit the backbone.
    """
    if not 0 < ratio <= 1:
        raise UserError(f"ratio {ratio} is out of range: use more than 0, at most 1")
    if configuration is not None:
        check_configuration(configuration, layers)


def tokens_to_keep(
    layout: Layout, layer: int, ratio: float, configuration: Sequence[int] | None
) -> list[int] | None:
    """(R,) tokens of each row that leave a layer, None where every row stays whole.

    Args:
        layout: where the live rows lie.
        layer: from 0.
        ratio: the share of what is left of a row, rounded up.
        configuration: instead, the tokens that leave each layer; shorter rows stay whole.
    """
    lengths = layout.lengths
    if configuration is not None:
        kept = [min(configuration[layer], n) for n in lengths]
    else:  # 0.1 * 30 is a little more than 3
        kept = [math.ceil(ratio * n - 1e-9) for n in lengths]
    return None if kept == list(lengths) else kept


def retraining(epochs: int, learning_rate: float) -> list[Stage]:
    """The recipe: with tokens removed from the first step on, as when PoWER-BERT re-trains."""
    return [Stage("retrain", epochs, learning_rate, warmup=0.06, clip=1.0)]
