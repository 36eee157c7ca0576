"""The metrics of a task on resampled examples, many resamples at once, from saved predictions.

A resample is a row of weights: how often it holds each example. Every metric here is worked out
from weighted sums over the examples, so that a matrix product serves all resamples. The values are
those that the task's own scores give on the examples as they are.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokendrop.heads import Kind
from tokendrop.tasks.entities import entities

Array = NDArray[np.float64]
OfResamples = Callable[[Array], Array]
"""From (R, n) weights of n examples to the (R,) values of a metric."""


def metric_of(kind: Kind, metric: str, answers: pd.DataFrame) -> OfResamples:
    """The metric of resamples of these examples.

    Args:
        kind: of the task.
        metric: one that the kind of task has.
        answers: the saved predictions, see :meth:`tokendrop.tasks.Scores.examples`.
    """
    if kind == "classification" and metric != "accuracy":
        return _of_confusions(answers, matthews if metric == "matthews" else f1)
    if kind == "regression":
        x, y = (answers[column].to_numpy(float) for column in ("label", "value"))
        return _pearson(x, y) if metric == "pearson" else _spearman(x, y)
    if kind == "token_classification":
        return _of_tags(answers, metric)
    return _mean(answers["exact_match" if metric == "exact_match" else "score"].to_numpy(float))


def _mean(scores: Array) -> OfResamples:
    return lambda weights: weights @ scores / weights.sum(-1)


def _ratio(above: Array, below: Array) -> Array:
    """0 where both are 0."""
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


# -- classes ----------------------------------------------------------------------------------


def _of_confusions(answers: pd.DataFrame, metric: Callable[[Array], Array]) -> OfResamples:
    """A metric of the (R, classes, classes) numbers of examples by right and by answered class."""
    classes = list(answers.columns[1:-1])
    number = {name: place for place, name in enumerate(classes)}
    right = answers["label"].map(number).to_numpy()
    answered = answers[classes].to_numpy(float).argmax(1)
    cells = np.eye(len(classes) ** 2)[right * len(classes) + answered]
    return lambda weights: metric((weights @ cells).reshape(-1, len(classes), len(classes)))


def f1(confusions: Array) -> Array:
    """Of the second class where there are two, else the mean over the classes that occur."""
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    sizes = confusions.sum(1) + confusions.sum(2)
    each = _ratio(2 * hits, sizes)
    return each[:, 1] if each.shape[1] == 2 else each.sum(1) / (sizes > 0).sum(1)


def matthews(confusions: Array) -> Array:
    """Matthews correlation of several classes (Gorodkin 2004), 0 where it is 0 / 0."""
    answered, right = confusions.sum(1), confusions.sum(2)
    total, hits = right.sum(1), np.trace(confusions, axis1=1, axis2=2)
    covariance = hits * total - (answered * right).sum(1)
    spreads = [total**2 - (side**2).sum(1) for side in (answered, right)]
    return _ratio(covariance, np.sqrt(spreads[0] * spreads[1]))


# -- numbers ----------------------------------------------------------------------------------


def _pearson(x: Array, y: Array) -> OfResamples:
    return lambda weights: _correlation(weights, x - x.mean(), y - y.mean())


def _spearman(x: Array, y: Array) -> OfResamples:
    """Correlation of the ranks inside each resample, equals sharing the mean of their ranks."""
    rank_x, rank_y = _ranks(x), _ranks(y)
    return lambda weights: _correlation(weights, rank_x(weights), rank_y(weights))


def _ranks(values: Array) -> OfResamples:
    """(R, n) ranks of the n examples, from 0.5 - m / 2 to m / 2 - 0.5 in resamples of m."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))
    group = np.empty(len(values), dtype=int)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))

    def ranks(weights: Array) -> Array:
        sizes = np.add.reduceat(weights[:, order], starts, axis=1)
        middle = sizes.cumsum(1) - (sizes + weights.sum(1, keepdims=True)) / 2
        return middle[:, group]

    return ranks


def _correlation(weights: Array, x: Array, y: Array) -> Array:
    """(R,) weighted correlation; 0 where one side is constant. x and y are (n,) or (R, n)."""
    total = weights.sum(1, keepdims=True)
    means = [(weights * side).sum(1, keepdims=True) / total for side in (x, y)]
    x, y = x - means[0], y - means[1]
    spreads = [(weights * side**2).sum(1) for side in (x, y)]
    # what rounding leaves of the spread of equal numbers is none
    spreads = [
        np.where(spread > 1e-18 * total[:, 0] * mean[:, 0] ** 2, spread, 0)
        for spread, mean in zip(spreads, means, strict=True)
    ]
    return _ratio((weights * x * y).sum(1), np.sqrt(spreads[0] * spreads[1]))


# -- tags -------------------------------------------------------------------------------------


def _of_tags(answers: pd.DataFrame, metric: str) -> OfResamples:
    """Ratios of sums over sentences: of right words, or twice the entities hit."""
    above, below = [], []
    sides = (answers[column].str.split() for column in ("label", "tags"))
    for right, answered in zip(*sides, strict=True):
        if metric == "accuracy":
            above.append(sum(one == other for one, other in zip(right, answered, strict=True)))
            below.append(len(right))
        else:
            wanted, named = entities(right), entities(answered)
            above.append(2 * len(wanted & named))
            below.append(len(wanted) + len(named))
    sums = np.array([above, below], dtype=float).T

    def ratio(weights: Array) -> Array:
        found = weights @ sums
        return _ratio(found[:, 0], found[:, 1])

    return ratio
