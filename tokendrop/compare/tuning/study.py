"""The trials of one method on one task, drawn by Optuna and kept in a journal.

What is drawn depends on the seed, the speed-ups to reach and the draws before alone, so a journal
that a kill cut off goes on as if it had not been. A journal has draws of three kinds: those that
were measured; those of values that had been measured before; and those that what was left of the
cost did not cover, in whose place another is drawn. From the first of these on, a larger cost would
draw others, so what follows says under which cost it was drawn.

Trials are drawn in batches: those of one batch know nothing of what the others gave, so that they
can be trained side by side.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import optuna
from optuna.storages import JournalStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from pydantic import ValidationError

from tokendrop.compare.tuning.journal import Journal, Lock
from tokendrop.compare.tuning.outcomes import WORST, Measured, Outcome, Trial, around, covers
from tokendrop.compare.tuning.sampling import EVEN, between, distribution, evenly, informed
from tokendrop.compare.tuning.settings import Range, Tuning
from tokendrop.configs import differences
from tokendrop.errors import UserError, one_line
from tokendrop.stored import plain

REPEATS = 20  # draws in succession that cannot be tried, after which nothing is left to try
NAME = "tuning"  # of the study in its journal
OUTCOME, BATCH, KNOWN, DEARER, APART = "outcome", "batch", "known", "dearer", "apart"


@dataclass(frozen=True)
class Standing:
    """How far a study is within its limits.

    Attributes:
        trials: that the limits allow.
        left: what they have left of the cost, in multiples of the dense fine-tuning.
        ended: whether there can be no more of them.
        batch: the number of the last batch, from 1.
        begun: how many of the trials are of that batch.
        before: what was left of the cost when it began, less the estimates of its trials.
        repeats: draws since the last trial that could not be tried.
        draws: all that were made.
        apart: the cost, if a larger one would draw others from here on.
    """

    trials: list[Trial]
    left: float
    ended: bool
    batch: int
    begun: int
    before: float
    repeats: int
    draws: int
    apart: float | None


class Study:
    """A journal and what it holds."""

    def __init__(
        self,
        path: Path,
        ranges: Mapping[str, Range],
        first: Mapping[str, Any],
        seed: int,
        several: bool,
        settings: Mapping[str, Any],
        *,
        wait: bool = False,
    ) -> None:
        """
        Args:
            path: of the journal, which need not exist.
            ranges: what is drawn.
            first: the values of the first trial.
            seed: of the draws.
            several: whether faster and better are two objectives, or better is the only one.
            settings: plain data that all its trials share.
            wait: for another process that has it open.

        Raises:
            UserError: the journal is of other settings, is torn, or another process has it open.
        """
        self.path = path
        self._first, self._seed, self._several = dict(first), seed, several
        self._ranges = ranges
        self._distributions = {name: distribution(among) for name, among in ranges.items()}
        self._directions = [StudyDirection.MAXIMIZE] + [StudyDirection.MINIMIZE] * several
        self._lock = Lock(path, wait)
        try:
            self._study = self._open()
            self._check(settings)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _open(self) -> optuna.Study:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            storage = JournalStorage(Journal(self.path, self._lock))
            if NAME in optuna.get_all_study_names(storage):
                return optuna.load_study(study_name=NAME, storage=storage)
            return optuna.create_study(
                storage=storage, study_name=NAME, directions=self._directions
            )
        except (ValueError, KeyError) as error:
            raise UserError(
                f"{self.path} is not a journal of trials ({one_line(error)}): delete it to tune "
                "anew, which finds what was trained"
            ) from error

    def _check(self, settings: Mapping[str, Any]) -> None:
        now = json.loads(json.dumps(dict(settings) | {"objectives": 1 + self._several}))
        before = self._study.user_attrs.get("settings")
        if before is None:
            self._study.set_user_attr("settings", now)
            return
        if "backbone_fingerprint" not in before:  # a version before did not note it
            now.pop("backbone_fingerprint", None)
        for place, old, wanted in differences(before, now):
            raise UserError(
                f"{self.path} was tuned with {place} {old}, and now it is {wanted}: set it back, "
                "delete that file to tune anew, or name another folder with --out"
            )

    def within(self, limits: Tuning) -> Standing:
        """How far these limits allow the study to be.

        Trials that a larger cost has added to the journal are left out, so that the same limits
        always give the same trials.
        """
        trials: list[Trial] = []
        repeats, draws, left = 0, 0, math.inf if limits.cost is None else limits.cost
        batch, begun, before = 1, 0, left
        apart: float | None = None
        for told in self._study.get_trials(deepcopy=False):
            if len(trials) == limits.trials or repeats == REPEATS:
                break
            # trials of versions without batches are one each
            one = batch + (begun > 0) * (told.state == TrialState.COMPLETE)
            of = told.user_attrs.get(BATCH, one)
            drawn = limits.cost if of != batch and limits.is_part(begun) else apart
            if told.user_attrs.get(APART) != drawn:
                continue  # drawn under another cost
            if of != batch:
                batch, begun, before, apart = of, 0, left, drawn
            if told.state == TrialState.COMPLETE:
                outcome = self._outcome(told)
                if not covers(before, outcome.estimate):
                    # another is drawn in its place; in a batch that has begun, by the next one
                    apart, repeats, draws = limits.cost, repeats + (not begun), draws + (not begun)
                    continue
                trials.append(Trial(len(trials) + 1, dict(told.params), outcome))
                begun, before, left = begun + 1, before - outcome.estimate, left - outcome.cost
                repeats, draws = 0, draws + 1
            elif KNOWN in told.user_attrs:
                repeats, draws = repeats + 1, draws + 1
            elif not covers(left, told.user_attrs.get(DEARER, 0)):
                repeats, draws, apart = repeats + 1, draws + 1, limits.cost
        ended = len(trials) == limits.trials or repeats == REPEATS
        return Standing(trials, left, ended, batch, begun, before, repeats, draws, apart)

    def _outcome(self, told: optuna.trial.FrozenTrial) -> Outcome:
        """What a trial gave; a journal may be a stranger's, so it says no more than it should."""
        cure = f"{self.path} holds a trial that is not of this tuning: delete it to tune anew"
        drawn = {name for name, value in told.params.items() if value in self._ranges.get(name, ())}
        if drawn != self._ranges.keys() or told.params.keys() != drawn:
            raise UserError(cure)
        try:
            outcome: Outcome = plain(told.user_attrs.get(OUTCOME), Outcome)
            return outcome
        except ValidationError as error:
            raise UserError(cure) from error

    def draw(
        self,
        trials: Sequence[Trial],
        beside: Sequence[Mapping[str, Any]],
        before: int,
        speedups: Sequence[float],
        *,
        unlearned: bool = False,
    ) -> dict[str, Any]:
        """Draw the values of a trial.

        Args:
            trials: whose outcomes are known.
            beside: values of the batch that were drawn before, whose outcomes are not.
            before: how many draws were made.
            speedups: to reach.
            unlearned: whatever the trials gave, for in their light all may be too dear.
        """
        if not before:
            return dict(self._first)
        for slower, faster in around(trials, speedups) if not unlearned else ():
            # of one pair always the same, so that a batch has it once
            pair = f"{self._seed} {slower.number} {faster.number}"
            values = between(self._distributions, slower.values, faster.values, pair)
            if values not in beside and all(trial.values != values for trial in trials):
                return values
        if unlearned or len(trials) < EVEN:
            return evenly(self._distributions, self._first, self._seed, before)
        # a sampler's own state would be lost in a kill
        seed = (self._seed * 100_003 + before) % 2**32
        known = (self._complete(trial.values, trial.outcome) for trial in trials)
        return informed(self._distributions, self._directions, known, beside, seed)

    def tell(
        self, values: Mapping[str, Any], outcome: Outcome, batch: int, apart: float | None
    ) -> None:
        """Write down what a trial gave, in which batch it was drawn, and under which cost."""
        told = {OUTCOME: asdict(outcome)} | _drawn_in(batch, apart)
        self._study.add_trial(self._complete(values, outcome, told))

    def drop(
        self,
        values: Mapping[str, Any],
        batch: int,
        apart: float | None,
        *,
        dearer: float | None = None,
    ) -> None:
        """Write down that a draw is not tried.

        Args:
            values: that were drawn.
            batch: in which.
            apart: the cost under which, see :class:`Standing`.
            dearer: the estimate of its cost, if that is why; else its values were known.
        """
        why = {KNOWN: True} if dearer is None else {DEARER: dearer}
        drawn = _drawn_in(batch, apart)
        self._study.add_trial(self._trial(values, TrialState.FAIL, None, why | drawn))

    def _complete(
        self, values: Mapping[str, Any], outcome: Outcome, told: dict[str, Any] | None = None
    ) -> optuna.trial.FrozenTrial:
        """A trial as Optuna has it.

        Of several points it is told the one that covers most of the metric and the FLOPs, of one
        that could not be trained the worst metric.
        """
        points = outcome.points or [Measured(None, WORST, 1.0)]
        most = max(points, key=lambda point: point.value * (1 - 1 / point.speedup))
        reached = [most.value, 1 / most.speedup]
        if not self._several:
            reached = [max(point.value for point in points)]
        return self._trial(values, TrialState.COMPLETE, reached, told)

    def _trial(
        self,
        values: Mapping[str, Any],
        state: TrialState,
        reached: list[float] | None,
        told: dict[str, Any] | None,
    ) -> optuna.trial.FrozenTrial:
        return optuna.trial.create_trial(
            state=state,
            params=dict(values),
            distributions=self._distributions,
            values=reached,
            user_attrs=told,
        )


def _drawn_in(batch: int, apart: float | None) -> dict[str, float]:
    return {BATCH: batch} | ({} if apart is None else {APART: apart})
