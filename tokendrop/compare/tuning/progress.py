"""What tuning shows: which trial is running, what is left of the budget, and the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from tokendrop.compare.grid.remaining import about
from tokendrop.compare.tuning.outcomes import Trial, best
from tokendrop.compare.tuning.settings import Tuning


@dataclass(frozen=True)
class Progress:
    """The progress of one method: a line for each trial, and on a terminal a bar above the next.

    The bar stands still while a trial runs, since its training has a moving one of its own.

    Attributes:
        who: the method and the task.
        metric: of the task.
        limits: of the tuning.
        speedups: what it is tuned for.
        console: where to.
    """

    who: str
    metric: str
    limits: Tuning
    speedups: Sequence[float]
    console: Console

    def begin(self, trials: Sequence[Trial], left: float) -> None:
        """Say what had been done before."""
        if trials:
            text = f"{self.who}: {len(trials)} trials done before; {self._standing(trials, left)}"
            self.console.print(escape(text), soft_wrap=True, highlight=False)
        self._bar(trials, left)

    def tried(self, trials: Sequence[Trial], left: float) -> None:
        """Say what the last trial gave."""
        trial = trials[-1]
        drawn = ", ".join(f"{name}={_short(value)}" for name, value in trial.values.items())
        by_value = sorted(trial.outcome.points, key=lambda one: -one.value)
        by_speed = sorted(trial.outcome.points, key=lambda one: -one.speedup)
        ends = by_value[:1] + by_speed[:1]
        shown = dict.fromkeys(f"{one.value:.4f} at {one.speedup:.2f}x" for one in ends)
        gave = ", ".join(shown) or "none, it diverged"
        text = f"{self.who}: trial {trial.number} ({drawn}): {self.metric} {gave}; "
        text += self._standing(trials, left)
        self.console.print(escape(text), soft_wrap=True, highlight=False)
        self._bar(trials, left)

    def _standing(self, trials: Sequence[Trial], left: float) -> str:
        found = {f"{speedup:g}x": best(trials, speedup) for speedup in self.speedups}
        found = found or {self.metric: best(trials, None)}
        so_far = ", ".join(
            f"{k} {one[1].value:.4f}" if one else f"{k} none" for k, one in found.items()
        )
        share = self._left(trials, left)
        time = self._time(trials, share)
        return f"{share:.0%} of the budget left{time}; best so far: {so_far}"

    def _time(self, trials: Sequence[Trial], share: float) -> str:
        """How long the share of the budget that is left will take, by what the trials took."""
        took = sum(trial.outcome.seconds for trial in trials)
        # side by side they take less than their sum
        if not 0 < share < 1 or self.limits.batch > 1:
            return ""
        return f", {about(took * share / (1 - share))}"

    def _left(self, trials: Sequence[Trial], left: float) -> float:
        """The share of the budget, or of the number of trials, that is left."""
        shares = []
        if self.limits.cost is not None:
            shares.append(max(0.0, left / self.limits.cost))
        if self.limits.trials is not None:
            shares.append(1 - len(trials) / self.limits.trials)
        return min(shares)

    def _bar(self, trials: Sequence[Trial], left: float) -> None:
        if not self.console.is_terminal:
            return
        spent = 1 - self._left(trials, left)
        row = Table.grid(padding=(0, 1))
        text = f"{self.who}: trial {len(trials) + 1}"
        row.add_row(escape(text), ProgressBar(1, spent, 30), f"{spent:.0%} of the budget")
        self.console.print(row)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
