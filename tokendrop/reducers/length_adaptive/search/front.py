"""What a search finds: the configurations that no other beats, and the best one for a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokendrop.errors import UserError

Configuration = tuple[int, ...]


@dataclass(frozen=True)
class Candidate:
    """A configuration that was evaluated.

    Attributes:
        score: the task's metric on the search rows.
        share: mean FLOPs of a row as a share of the full model's, on the unpadded base.
    """

    configuration: Configuration
    score: float
    share: float


@dataclass(frozen=True)
class Front:
    """The result of a search.

    Attributes:
        points: the front, by growing share.
        constant: the initial population: bounds and constant ratios.
        evaluated: every configuration of this search.
        history: the front after the initial population and after each generation.
        areas: for each front of the history, its mean score between the bounds.
        rows: how many rows scores are measured on.
        seconds: time spent on evaluating, over all interrupted runs.
        flops: of the same work; layers that configurations shared were run and count once.
    """

    points: Sequence[Candidate]
    constant: Sequence[Candidate]
    evaluated: Sequence[Candidate]
    history: Sequence[Sequence[Candidate]]
    areas: Sequence[float]
    rows: int
    seconds: float
    flops: float

    @property
    def reachable(self) -> float:
        """The share of the smallest configuration of the training, the search's lower bound."""
        return self.points[0].share

    def at(self, budget: float) -> Candidate:
        """The configuration of the best score within a share of the full model's FLOPs.

        Raises:
            UserError: no configuration is that cheap, or the budget is no share.
        """
        check_budget(budget)
        affordable = [point for point in self.points if point.share <= budget]
        if not affordable:
            raise too_small(budget, self.reachable)
        return max(affordable, key=lambda point: (point.score, -point.share))

    def described(self) -> dict[str, Any]:
        """As plain data."""

        def listed(points: Sequence[Candidate]) -> list[dict[str, Any]]:
            return [
                {
                    "configuration": list(point.configuration),
                    "score": round(point.score, 6),
                    "flops_share": round(point.share, 6),
                }
                for point in points
            ]

        return {
            "front": listed(self.points),
            "constant_ratios": listed(self.constant),
            "areas": [round(area, 6) for area in self.areas],
            "rows": self.rows,
            "configurations_evaluated": len(self.evaluated),
            "search_seconds": round(self.seconds, 2),
            "search_flops": round(self.flops),
        }


def check_budget(budget: float) -> None:
    """
    Raises:
        UserError: the budget is no share of the full model's FLOPs.
    """
    if not 0 < budget <= 1:
        raise UserError(
            f"budget {budget:g} is no share of the full model's FLOPs: use more than 0, at most 1"
        )


def too_small(budget: float, reachable: float, absolute: bool = False) -> UserError:
    """The error for a budget that not even the smallest configuration keeps.

    Args:
        budget: that was asked for.
        reachable: share of the smallest configuration.
        absolute: short rows stay whole, since lengths are not scaled with each row.
    """
    scaled = ", or with length_basis row where rows are shorter than max_length"
    return UserError(
        f"budget {budget:g} is out of reach: the smallest configuration this model was trained "
        f"for needs {reachable:.4f} of the full model's FLOPs on these rows; use a budget of "
        f"{_rounded_up(reachable)} or more, or train with a larger length_drop"
        f"{scaled if absolute else ''}"
    )


def _rounded_up(share: float) -> float:
    return -(-share * 1000 // 1) / 1000
