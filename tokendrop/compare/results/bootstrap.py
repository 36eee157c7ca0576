"""Resamples of seeds and test examples: how far other ones could move a number.

A resample draws as many examples and as many seeds as there are, with replacement. The examples it
draws are the same for every run, so that whatever is made of two runs is paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tokendrop.tasks.resampling import Array, OfResamples

SIGNIFICANT = 0.05
"""A p value from here on is chance; intervals leave so much outside."""
RESAMPLES = 10_000
"""Enough that the smallest p value survives a correction for some hundred comparisons."""
SEED = 0
_CELLS = 250_000  # weights held at once, resamples times examples: as many as fit a cache


@dataclass(frozen=True)
class Estimate:
    """A number and what resamples say of it.

    Attributes:
        value: on the seeds and examples as they are.
        low, high: the 95 % percentile interval.
        p_value: two-sided, of it being 0.
    """

    value: float
    low: float
    high: float
    p_value: float


def example_weights(examples: int, resamples: int = RESAMPLES) -> Iterator[Array]:
    """How often each resample holds each example, as (some resamples, examples) at a time."""
    random = np.random.default_rng(SEED)
    at_once = max(1, _CELLS // examples)
    for start in range(0, resamples, at_once):
        number = min(at_once, resamples - start)
        drawn = random.integers(examples, size=(number, examples))
        places = drawn + examples * np.arange(number)[:, None]
        counts = np.bincount(places.ravel(), minlength=number * examples)
        yield counts.reshape(number, examples).astype(float)


def seed_weights(seeds: int, resamples: int = RESAMPLES) -> Array:
    """(resamples, seeds) shares of each seed in each resample."""
    random = np.random.default_rng([SEED, seeds])
    return random.multinomial(seeds, [1 / seeds] * seeds, size=resamples) / seeds


def on_resamples(
    metrics: Sequence[OfResamples], examples: int, resamples: int = RESAMPLES
) -> tuple[Array, Array]:
    """The (n,) values of n metrics on the examples as they are, and (n, resamples) on resamples."""
    values = np.array([metric(np.ones((1, examples)))[0] for metric in metrics])
    found = [
        [metric(weights) for metric in metrics] for weights in example_weights(examples, resamples)
    ]
    return values, np.concatenate(found, axis=1)


def estimate(values: Array, resampled: Array) -> Estimate:
    """A mean over seeds, with its interval over seeds and examples.

    Args:
        values: (seeds,) numbers of each seed; for a difference, already subtracted.
        resampled: (seeds, resamples) the same on each resample of the examples.
    """
    shares = seed_weights(len(values), resampled.shape[1])
    # rounded, so that what is 0 but for the last digits is 0
    means = np.round((shares * resampled.T).sum(1), 12)
    low, high = np.quantile(means, [SIGNIFICANT / 2, 1 - SIGNIFICANT / 2])
    tail = min((means <= 0).sum(), (means >= 0).sum())
    p_value = min(1.0, 2 * (float(tail) + 1) / (len(means) + 1))
    return Estimate(float(values.mean()), float(low), float(high), p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values of several tests, corrected so that any of them errs as rarely as one would.

    Holm 1979: the k-th smallest of m is multiplied by m - k + 1, and none is below a smaller one.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
