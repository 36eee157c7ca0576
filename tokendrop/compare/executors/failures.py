"""Runs whose trainings diverged, which keep none of the others from being made."""

from __future__ import annotations

from collections.abc import Iterable

from tokendrop.errors import Diverged


class Failures:
    """What could not be made, and why."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, names: Iterable[str], error: Diverged) -> None:
        """Runs, or methods that were to be tuned, which all failed for one reason."""
        self._names.setdefault(str(error), []).extend(names)

    def __len__(self) -> int:
        return sum(map(len, self._names.values()))

    def check(self, rest: str = "") -> None:
        """
        Args:
            rest: what became of all others, in words.

        Raises:
            Diverged: there is a failure; with all of them.
        """
        said = [f"{', '.join(names)}: {why}" for why, names in self._names.items()]
        if said:
            raise Diverged("; ".join([*said, rest] if rest else said))
