"""What a configuration file says of one method."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from tokendrop.bounds import Finite, check, check_fields
from tokendrop.compare.grid.arguments import Arguments, unwrapped
from tokendrop.compare.tuning.settings import Range
from tokendrop.errors import UserError
from tokendrop.reducers.length_adaptive.search.front import check_budget
from tokendrop.reducers.length_adaptive.search.settings import SearchSettings


@dataclass(frozen=True)
class SearchedPoints:
    """Operating points found by searching the trained model on the dev split.

    Attributes:
        budgets: largest share of the full model's FLOPs, by the name of the point; none in a
            method with a space, which is searched for the speed-ups that it is tuned for.
        settings: how to search.
    """

    budgets: dict[str, Finite] = field(default_factory=dict)
    settings: SearchSettings = field(default_factory=SearchSettings)

    def __post_init__(self) -> None:
        check_fields(self, "search.")
        for budget in self.budgets.values():
            check_budget(budget)


@dataclass(frozen=True)
class Method:
    """A method in the grid.

    None (null) in the place of any setting but the reducer is as if it were not given: so an option
    takes back what a file says.

    Attributes:
        reducer: class of the reducer, by its name or by a dotted path.
        arguments: what it is made with.
        operating_points: changes to the arguments by the name of the point, ``parts.1.tau`` for
            the argument tau of a chain's second part; one point without changes by default.
        search: further points, for a method that can be searched for configurations.
        task_arguments: changes to the arguments on single tasks, by their names; papers tune per
            data set.
        space: makes it a tuned method: the values that trials may give to some of its arguments,
            by their names as in operating_points; see docs/tuning.md. The arguments as they are
            make the first trial. Operating points are then what every trained trial is measured
            at, and may only change what needs no training.
    """

    reducer: str
    arguments: Arguments = field(default_factory=Arguments)
    operating_points: dict[str, Arguments] = field(default_factory=lambda: {"default": Arguments()})
    search: SearchedPoints | None = None
    task_arguments: dict[str, Arguments] = field(default_factory=dict)
    space: dict[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for setting in fields(self):
            if getattr(self, setting.name) is None and setting.default_factory is not MISSING:
                object.__setattr__(self, setting.name, setting.default_factory())
        kinds = {"reducer": str, "search": SearchedPoints | None, "space": dict[str, Range]}
        check(vars(self), kinds, f"{self.reducer}: ")
        for name in ("arguments", "operating_points", "task_arguments"):
            given = unwrapped(getattr(self, name))
            kind = dict[str, Any] if name == "arguments" else dict[str, dict[str, Any]]
            check({name: given}, {name: kind}, f"{self.reducer}: ")
            object.__setattr__(self, name, given)
        budgets = {} if self.search is None else self.search.budgets
        if not (self.operating_points or budgets or self.space):
            raise UserError(f"{self.reducer}: operating_points is empty: leave it out for one run")
        if both := sorted(self.operating_points.keys() & budgets.keys()):
            raise UserError(
                f"{self.reducer}: {both[0]!r} names an operating point and a budget of the search: "
                "give one of them another name"
            )
