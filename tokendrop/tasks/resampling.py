"""Metrics of a task on resampled examples, many resamples at once, from saved predictions.

A resample is a row of weights: how often it holds each example. Every metric is worked out from
weighted sums over the examples, so that a matrix product serves all resamples. The values are those
that the task's own scores give on the examples as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
OfResamples = Callable[[Array], Array]
"""From (R, n) weights of n examples to the (R,) values of a metric."""


def mean(scores: Array) -> OfResamples:
    """The mean of (n,) scores."""
    return lambda weights: weights @ scores / weights.sum(-1)


def ratio(above: Array, below: Array) -> Array:
    """0 where both are 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)
