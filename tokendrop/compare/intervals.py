"""Confidence intervals of points, as the table, the curves and the verdict show them.

Nothing is computed here: who has intervals hands them to :func:`write_report` and to the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Interval:
    """The 95 % intervals of a point, in the unit of its metric (0.01 is a point of a per cent).

    Attributes:
        low, high: of the metric on the test split.
        gap_low, gap_high: of how much better than dense it is, see
            :func:`tokendrop.compare.records.gap`; None for dense itself.
    """

    low: float
    high: float
    gap_low: float | None = None
    gap_high: float | None = None


Intervals = Mapping[tuple[str, str, str], Interval]
"""By task, method and operating point; points that are absent have none."""

NONE: Intervals = MappingProxyType({})
