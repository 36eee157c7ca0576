"""The trials of a method that are trained at once: what is drawn before any of them is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tokendrop.compare.tuning.outcomes import Outcome, Trial, covers
from tokendrop.compare.tuning.settings import Tuning
from tokendrop.compare.tuning.study import REPEATS, Standing, Study
from tokendrop.compare.tuning.trials import Asked

Price: TypeAlias = Callable[
    [Sequence[Trial], Sequence[Mapping[str, Any]], Mapping[str, Any]], Asked
]
"""A trial with drawn values, from the trials whose outcomes are known and the values beside it."""


@dataclass(frozen=True)
class Draw:
    """Values that were drawn.

    Attributes:
        values: by argument.
        asked: the trial; None if it is not made.
        apart: under which cost, see :class:`~tokendrop.compare.tuning.study.Standing`.
        dearer: what it would cost, if that is why; else an earlier one has these values.
    """

    values: dict[str, Any]
    asked: Asked | None
    apart: float | None
    dearer: float | None = None


@dataclass(frozen=True)
class Batch:
    """Draws of one batch, or the rest of one that was interrupted.

    Attributes:
        number: of the batch.
        draws: in order.
        known: the trials whose outcomes were known when it began.
    """

    number: int
    draws: list[Draw]
    known: list[Trial]

    @property
    def asked(self) -> list[Asked]:
        """The trials to make."""
        return [draw.asked for draw in self.draws if draw.asked is not None]

    def tell(self, study: Study, outcomes: Sequence[Outcome]) -> None:
        """Write down what they gave, in the order in which they were drawn."""
        gave = iter(outcomes)
        for draw in self.draws:
            if draw.asked is None:
                study.drop(draw.values, self.number, draw.apart, dearer=draw.dearer)
            else:
                study.tell(draw.values, next(gave), self.number, draw.apart)


def next_batch(study: Study, standing: Standing, limits: Tuning, price: Price) -> Batch:
    """Draw as many trials as a batch has and the limits allow.

    What is left of the cost covers the estimates of all of them; in the place of a first one that
    it does not cover another is drawn, whatever the trials gave. A batch of which only a part was
    written down goes on with the same draws: what its trials gave is not known to them.

    Args:
        study: that draws.
        standing: how far it is; not ended.
        limits: of the tuning.
        price: of a trial.
    """
    if limits.is_part(standing.begun):
        rest = _drawn(study, standing, limits, price, standing.batch)
        if rest.draws:
            return rest
    return _drawn(study, standing, limits, price, standing.batch + (standing.begun > 0))


def _drawn(study: Study, standing: Standing, limits: Tuning, price: Price, number: int) -> Batch:
    """The draws of a batch that are not written down, as far as the cost covers them."""
    trials = standing.trials
    begun, apart = standing.begun, standing.apart
    if number != standing.batch:
        begun, apart = 0, limits.cost if limits.is_part(begun) else apart
    left = standing.before if begun else standing.left
    known = trials[: len(trials) - begun]
    beside = [trial.values for trial in trials[len(trials) - begun :]]
    most = limits.batch
    if limits.trials is not None:
        most = min(most, begun + limits.trials - len(trials))
    draws: list[Draw] = []
    repeats = standing.repeats
    while len(beside) < most and repeats < REPEATS:
        # behind one that was too dear
        unlearned = apart is not None and repeats > 0
        before = standing.draws + len(draws)
        values = study.draw(known, beside, before, limits.speedups, unlearned=unlearned)
        if values in beside or any(trial.values == values for trial in known):
            draws.append(Draw(values, None, apart))
            repeats += 1
            continue
        asked = price(known, beside, values)
        if not covers(left, asked.estimate):
            if beside:  # a smaller batch; what its trials really cost may cover this one
                break
            draws.append(Draw(values, None, apart, asked.estimate))
            repeats, apart = repeats + 1, limits.cost
            continue
        draws.append(Draw(values, asked, apart))
        beside.append(values)
        left -= asked.estimate
        repeats = 0
    return Batch(number, draws, known)
