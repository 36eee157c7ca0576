"""How the values of a trial are drawn, by samplers of Optuna that keep no state between draws."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import QMCSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial

from tokendrop.compare.tuning.settings import Range

EVEN = 4  # trials that learn from no other, the first included: a budget is some ten trainings


def distribution(among: Range) -> BaseDistribution:
    """A range, as Optuna has it."""
    if among.choices is not None:
        return CategoricalDistribution(among.choices)
    assert among.low is not None
    assert among.high is not None
    if among.is_whole:
        return IntDistribution(int(among.low), int(among.high), log=among.log)
    return FloatDistribution(among.low, among.high, log=among.log)


def evenly(
    space: Mapping[str, BaseDistribution], first: Mapping[str, Any], seed: int, number: int
) -> dict[str, Any]:
    """A draw of a series that covers each range evenly, scrambled Sobol points.

    Of the few trials that a budget covers, all that are drawn at random may lie in one corner of a
    range, where a method does not show what it can.

    Args:
        space: what is drawn.
        first: values from it; what they are does not matter.
        seed: of the series.
        number: of the draw in it, from 1.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
    study = optuna.create_study(sampler=sampler)
    # from a trial the sampler learns what is drawn, and each draw takes it to the next point
    study.add_trial(create_trial(params=dict(first), distributions=dict(space), value=0.0))
    drawn: dict[str, Any] = {}
    for _ in range(number):
        drawn = study.ask(dict(space)).params
    return drawn


def between(
    space: Mapping[str, BaseDistribution],
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    seed: str,
) -> dict[str, Any]:
    """Values half-way between those of two trials; where they chose differently, either's.

    Args:
        space: what is drawn.
        one: values from it.
        other: others from it.
        seed: of the choices.
    """
    draw = random.Random(seed)
    values: dict[str, Any] = {}
    for name, among in space.items():
        two = one[name], other[name]
        if isinstance(among, FloatDistribution | IntDistribution):
            middle = math.sqrt(math.prod(two)) if among.log else sum(two) / 2
            middle = min(max(middle, min(two)), max(two))  # rounding may lead out of the range
            values[name] = round(middle) if isinstance(among, IntDistribution) else middle
        else:
            values[name] = draw.choice(two)
    return values


def informed(
    space: Mapping[str, BaseDistribution],
    directions: Sequence[StudyDirection],
    known: Iterable[FrozenTrial],
    beside: Iterable[Mapping[str, Any]],
    seed: int,
) -> dict[str, Any]:
    """A draw that learns from trials, by a tree-structured Parzen estimator.

    Args:
        space: what is drawn.
        directions: of the trials' outcomes.
        known: trials whose outcomes are known.
        beside: values of trials that are still running.
        seed: of this draw.
    """
    sampler = TPESampler(seed=seed, n_startup_trials=EVEN)
    study = optuna.create_study(directions=list(directions), sampler=sampler)
    study.add_trials(known)
    for values in beside:
        study.enqueue_trial(dict(values))
        study.ask(dict(space))
    return dict(study.ask(dict(space)).params)
