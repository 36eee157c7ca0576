"""The space of a tuned method: which of its arguments are drawn, and between what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokendrop.compare.tuning.settings import Range
from tokendrop.errors import UserError, unknown
from tokendrop.reducers import from_spec, with_changes
from tokendrop.reducers.base import Reducer, Shape
from tokendrop.reducers.given import stages_of


class Space:
    """The arguments that trials of a method draw.

    Attributes:
        ranges: by argument, in the order in which they are drawn.
        first: what the first trial has: the method's own values where they lie in the space, else
            an end of the range, of which the one that trains least.
    """

    def __init__(
        self,
        method: str,
        reducer: dict[str, Any],
        ranges: Mapping[str, Range],
        points: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """
        Args:
            method: its name in the comparison, for messages.
            reducer: its class and arguments, see :func:`tokendrop.reducers.from_spec`.
            ranges: by argument, ``parts.1.tau`` for the one of a chain's part.
            points: its operating points, at all of which each trained trial is measured.

        Raises:
            UserError: no such argument, or an operating point that changes the training or what
                the space draws.
        """
        self.method, self.reducer = method, reducer
        # the order in which a file names them must not change what is drawn
        self.ranges = dict(sorted(ranges.items()))
        made = from_spec(reducer)
        own = dict(_arguments(made))
        for name in self.ranges:
            if name not in own:
                raise unknown(f"argument in the space of {method}", name, own)
        for point, changes in points.items():
            for name in changes:
                if name in self.ranges:
                    raise UserError(
                        f"methods.{method}: the operating point {point} and the space both set "
                        f"{name}: leave it out of one of them"
                    )
                if name not in made.operating_arguments:
                    raise UserError(
                        f"methods.{method}: the operating point {point} changes {name}, which "
                        "needs a training of its own in a tuned method: put it into the space"
                    )
        self.first = {name: own[name] for name, among in self.ranges.items() if own[name] in among}
        for name, among in self.ranges.items():
            if name not in self.first:
                self.first[name] = min(
                    among.ends, key=lambda end: self.epochs(self.first | {name: end})
                )

    def at(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The reducer's description with drawn values."""
        return with_changes(self.reducer, values)

    def epochs(self, values: Mapping[str, Any]) -> int:
        """How long the method's own stages are with these values."""
        return sum(stage.epochs for stage in from_spec(self.at(values)).stages())

    def check(self, shape: Shape) -> None:
        """
        Raises:
            UserError: an end or a choice of the space does not fit the method or the backbone.
        """
        for name, among in self.ranges.items():
            for end in among.ends:
                try:
                    reducer = from_spec(self.at(self.first | {name: end}))
                    reducer.build(shape)
                    stages_of(reducer)
                except UserError as error:
                    raise UserError(
                        f"methods.{self.method}.space.{name} has {end!r}: {error}"
                    ) from error


def _arguments(reducer: Reducer, place: str = "") -> Iterator[tuple[str, Any]]:
    """The arguments of a reducer, those of a chain's parts by their paths."""
    for name, value in reducer.arguments.items():
        inner = value if isinstance(value, list) else []
        parts = [part for part in inner if isinstance(part, Reducer)]
        for index, part in enumerate(parts):
            yield from _arguments(part, f"{place}{name}.{index}.")
        if not parts:
            yield f"{place}{name}", value
