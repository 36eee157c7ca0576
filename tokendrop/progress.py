"""A bar for work that takes more than a moment."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def tracked(items: Iterable[T], what: str, count: int | None = None) -> Iterable[T]:
    """The items, with a bar and what is left on a terminal's error output while they are taken.

    Args:
        items: to go over.
        what: is done, said beside the bar.
        count: how many there are, where they do not say so themselves.
    """
    console = Console(stderr=True)
    return track(
        items, what, count, console=console, transient=True, disable=not sys.stderr.isatty()
    )
