"""What a terminal is shown: a bar for work that takes more than a moment, and tables."""

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


def table_console() -> Console:
    """Prints tables; a file or a pipe has no width, and 80 columns would fold or cut the names."""
    return Console(width=None if sys.stdout.isatty() else 140, markup=False)
