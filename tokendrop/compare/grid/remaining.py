"""What is left to do of a list of jobs, from the speed of what has been done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tqdm import tqdm  # type: ignore[import-untyped]

EVERY = 30.0  # seconds between two lines, but where a job begins


def _say(line: str) -> None:
    # above the progress bars, where there are any
    tqdm.write(line, file=sys.stderr)


class Remaining:
    """Says from time to time how long the jobs that are left will take.

    Jobs are added with their units of work before the first one begins. Seconds for a unit are
    those of the work that was done since then; nothing is guessed before.
    """

    def __init__(
        self,
        say: Callable[[str], None] = _say,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            say: is given each line.
            now: seconds on a clock that never goes back.
        """
        self._say, self._now = say, now
        self._waiting: dict[str, float] = {}
        self._present = 0.0
        self._done = 0.0
        self._begun: float | None = None
        self._said = 0.0

    def add(self, job: str, units: float) -> None:
        """A job that is to be done, by a name of its own."""
        self._waiting[job] = units

    def begin(self, job: str, note: str = "") -> None:
        """Go on to a job. What the one before it had left, e.g. as it was resumed, is no more.

        Args:
            job: one that was added.
            note: what its line begins with.
        """
        if self._begun is None:
            self._begun = self._now()
        self._present = self._waiting.pop(job)
        self._tell(f"{note}: {self}" if note else str(self))

    def leave(self, job: str) -> None:
        """A job that is not to be done after all, as another process did it."""
        self._waiting.pop(job, None)

    def done(self, units: float) -> None:
        """So much of the present job has been done since the last call."""
        self._done += units
        self._present = max(0.0, self._present - units)
        if self._now() - self._said >= EVERY:
            self._tell(str(self))

    @property
    def seconds(self) -> float | None:
        """What is left, None while nothing has been measured."""
        left = self._present + sum(self._waiting.values())
        if left == 0:
            return 0.0
        if self._begun is None or self._done == 0:
            return None
        return left * (self._now() - self._begun) / self._done

    def __str__(self) -> str:
        return "estimating what is left" if self.seconds is None else f"{about(self.seconds)} left"

    def _tell(self, line: str) -> None:
        self._said = self._now()
        self._say(line)


def about(seconds: float) -> str:
    """A time as people say it.

    >>> about(20), about(200), about(4000), about(100_000)
    ('less than a minute', 'about 3 min', 'about 1 h 10 min', 'about 28 h')
    """
    if seconds < 50:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {max(1, minutes)} min"
    hours, tens = divmod(round(minutes / 10) * 10, 60)
    if hours >= 10 or tens == 0:
        return f"about {round(minutes / 60)} h"
    return f"about {hours} h {tens} min"
