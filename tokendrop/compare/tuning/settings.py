"""How methods are tuned, as a comparison's file describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from jsonargparse.typing import register_type

from tokendrop.bounds import Count, Finite, Positive, Seed, check, check_fields
from tokendrop.errors import UserError, unknown

_HINTS = dict.fromkeys(("low", "high"), int | Finite | None)
_HINTS |= {"log": bool, "choices": list[Any] | None}


@dataclass(frozen=True)
class Range:
    """The values that an argument may take: numbers between two ends, or choices.

    Attributes:
        low: smallest number; whole numbers are drawn where both ends are whole.
        high: largest number, itself possible.
        log: draw evenly over the orders of magnitude.
        choices: instead, all values there are.
    """

    # any type: the parser has made 1.0 out of 1 for int | float, where float | int came before
    low: Any = None
    high: Any = None
    log: bool = False
    choices: list[Any] | None = None

    def check(self, place: str) -> None:
        """Raise if there is nothing to draw.

        Args:
            place: where it stands, for the message.

        Raises:
            UserError: what is wrong.
        """
        check(vars(self), _HINTS, f"{place}.")
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise UserError(f"{place} has ends and {self}: leave one of them out")
            if not self.choices or not all(_is_plain(choice) for choice in self.choices):
                raise UserError(
                    f"{place} has {self}: list one or more numbers, texts or truth values"
                )
        elif self.low is None or self.high is None or not self.low < self.high:
            raise UserError(f"{place} has {self}: give 'choices', or a number 'low' below a 'high'")
        elif self.log and self.low <= 0:
            raise UserError(f"{place} has {self}: use a 'low' above 0")

    def __str__(self) -> str:
        if self.choices is not None:
            return f"choices {self.choices}"
        return f"low {self.low}, high {self.high}{', log' * self.log}"

    def __contains__(self, value: object) -> bool:
        if self.choices is not None:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        assert self.low is not None
        assert self.high is not None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high and (not self.is_whole or isinstance(value, int))

    @property
    def is_whole(self) -> bool:
        """Whether whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> list[Any]:
        """All choices, or the smallest and the largest number."""
        return [self.low, self.high] if self.choices is None else self.choices


def _range(given: Any) -> Range:
    if not isinstance(given, Mapping):
        raise ValueError(f"{given} must be settings by their names")
    known = [setting.name for setting in fields(Range)]
    for name in given:
        if name not in known:
            raise ValueError(str(unknown("setting", str(name), known)))
    return Range(**given)


# else the parser would give a range what an earlier file says of the same argument: its other end,
# its log
register_type(Range, asdict, _range)


@dataclass(frozen=True)
class Tuning:
    """What methods with a space are tuned for, and what that may cost each of them.

    Attributes:
        speedups: FLOPs speed-ups on the unpadded base to reach; for each, the trial that is best on
            the dev split runs with all seeds. Without any, the best trial at all does.
        cost: FLOPs that the trials of one method may take, in multiples of the shared fine-tuning;
            of one epoch of it where a model is taken as it is (fine_tune: null).
        trials: most trials of one method.
        seed: of the draws.
        batch: trials of a method that are drawn at once, before any of them is trained, so that
            they can be trained side by side; 1 learns from each trial before the next is drawn.
    """

    speedups: list[Finite] = field(default_factory=list)
    cost: Positive | None = None
    trials: Count | None = None
    seed: Seed = 0
    batch: Count = 1

    def check(self) -> None:
        """Raise if there is nothing to reach or no end.

        Raises:
            UserError: what is wrong.
        """
        check_fields(self, "tune.")
        for speedup in self.speedups:
            if not speedup > 1:
                raise UserError(f"tune.speedups {speedup:g} saves nothing: use more than 1")
        if len(set(self.speedups)) < len(self.speedups):
            raise UserError(f"tune.speedups {self.speedups} names one twice: leave it out")
        if self.cost is None and self.trials is None:
            raise UserError(
                "tune has no end: give tune.cost, in multiples of the dense fine-tuning, or "
                "tune.trials"
            )

    def is_part(self, trials: int) -> bool:
        """Whether so many trials are a part of a batch; one that another follows, the cost cut."""
        return 0 < trials < self.batch


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
