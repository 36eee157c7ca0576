"""How often a property is tried: a few times in the tests, thousands of times by ``make fuzz``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings

from tokendrop.errors import UserError

T = TypeVar("T")

FULL = float(os.environ.get("TOKENDROP_FUZZ", 0))
"""The share of the full numbers that is tried, 0 in the tests."""

TRIED: Counter[str] = Counter()
"""How many cases there were, by their kind and how they ended."""


def tried(few: int, full: int) -> Callable[[Any], Any]:
    """Hypothesis tries a test so often; by ``make fuzz`` with other cases each time."""
    return settings(
        max_examples=count(few, full),
        deadline=None,
        derandomize=not FULL,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def count(few: int, full: int) -> int:
    """How many cases are tried."""
    return max(1, round(full * FULL)) if FULL else few


def outcome(kind: str, call: Callable[[], T]) -> tuple[T | None, str]:
    """What a call gives, or what its refusal says; anything else that it raises is a fault.

    Args:
        kind: of case, for the list of what was tried.
        call: what is tried.
    """
    try:
        found = call()
    except UserError as error:
        TRIED[f"{kind}: refused"] += 1
        said = str(error)
        assert said, "refused without a word"
        assert "\n" not in said, said
        return None, said
    TRIED[f"{kind}: taken"] += 1
    return found, ""
