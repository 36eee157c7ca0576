"""The methods of a task at the same budgets as tables for people, and who beats whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from tokendrop.compare.report.tables import FLOPS_COLUMN, VS_DENSE, show_gap, show_p, show_value
from tokendrop.compare.results.budgets import AtBudget, Compared, SameBudget, Standing
from tokendrop.measure.measures import FLOPS_UNPADDED, TRAIN_COST, VALUE

TITLE = "At the same budget"
CAPTION = (
    "At each budget, which is times fewer FLOPs than the packed dense model, a method stands with "
    "the point that is the best on dev among those that reach the budget on dev; test is only "
    "measured. A budget is reached from 99 % of it on, and with all seeds from 90 % by a point "
    "that was tuned for it. Intervals are over test examples and seeds, if there are several; p is "
    "corrected for the number of methods (Holm). From 0.05 on, a difference is a tie. Tuning cost "
    "is of all trials of the method; both costs are multiples of the FLOPs of the shared "
    "fine-tuning."
)
MATRIX_CAPTION = (
    "The row's method against the column's, in points of the metric; p is corrected for the number "
    "of pairs (Holm), and from 0.05 on it is a tie."
)
UNREACHED = "does not reach it"


def budget_table(found: SameBudget) -> pd.DataFrame:
    """One row per reference, and per budget and method, as text; without columns that say nothing.

    Without a budget there are no rows.
    """
    if not found.budgets:
        return pd.DataFrame()
    rows = [_row("1x", one, found) for one in found.references]
    for at in found.budgets:
        budget = f"{at.speedup:g}x"
        rows += [_row(budget, one, found) for one in at.standings]
        rows += [{"Budget": budget, "Method": name, "Point": UNREACHED} for name in at.too_slow]
    frame = pd.DataFrame(rows).fillna("")
    empty = [column for column in frame if (frame[column] == "").all()]
    return frame.drop(columns=empty)


def _row(budget: str, one: Standing, found: SameBudget) -> dict[str, str]:
    point, known = one.point, one.to_dense.difference
    is_dense = found.dense is not None and point.key == found.dense.key
    tuning = one.tuning_cost
    return {
        "Budget": budget,
        "Method": point.method,
        "Point": point.operating_point,
        FLOPS_COLUMN: FLOPS_UNPADDED.show(point.mean(FLOPS_UNPADDED)),
        point.runs[0].metric: show_value(point.mean(VALUE), point.std(VALUE)),
        VS_DENSE: "the reference" if is_dense else outcome(one.to_dense, point.is_reference),
        "95% interval": f"{show_gap(known.low)} to {show_gap(known.high)}" if known else "",
        "p (Holm)": show_p(one.to_dense.p_value) if known and not point.is_reference else "",
        TRAIN_COST.column: TRAIN_COST.show(point.mean(TRAIN_COST)),
        "Tuning cost": "" if tuning is None else TRAIN_COST.show(tuning),
    }


def outcome(compared: Compared, untested: bool = False) -> str:
    """A difference in words and points, e.g. "tie -0.35".

    Args:
        compared: the difference.
        untested: it is shown for information, and not one of the tests.
    """
    found = compared.difference
    if found is None:
        return "not compared"
    if untested:
        return show_gap(found.value)
    word = ("beats" if found.value > 0 else "loses") if compared.told_apart else "tie"
    return f"{word} {show_gap(found.value)}"


def matrix(at: AtBudget) -> pd.DataFrame:
    """Who beats whom at a budget; no rows where fewer than two methods reach it."""
    if not at.pairs:
        return pd.DataFrame()
    methods = [one.point.method for one in at.standings]
    between = {frozenset((pair.one, pair.other)): pair for pair in at.pairs}
    rows = [
        {"Method": mine}
        | {
            f"against {other}": ""
            if mine == other
            else outcome(between[frozenset((mine, other))].seen_from(mine))
            for other in methods
        }
        for mine in methods
    ]
    return pd.DataFrame(rows)


def matrices(found: SameBudget) -> Iterator[tuple[str, pd.DataFrame]]:
    """The matrix of each budget that has one, with its title."""
    for at in found.budgets:
        frame = matrix(at)
        if len(frame):
            yield f"Who beats whom at {at.speedup:g}x on {found.task}", frame


def numbers(budgets: Sequence[SameBudget]) -> pd.DataFrame:
    """The same as numbers, one row per task, budget and method that reaches it."""
    rows = []
    for found in budgets:
        for at in found.budgets:
            for one in at.standings:
                known = one.to_dense.difference
                rows.append(
                    {
                        "task": found.task,
                        "budget": at.speedup,
                        "method": one.point.method,
                        "operating_point": one.point.operating_point,
                        "value_mean": one.point.mean(VALUE),
                        "value_std": one.point.std(VALUE),
                        "vs_dense": known.value if known else None,
                        "vs_dense_low": known.low if known else None,
                        "vs_dense_high": known.high if known else None,
                        "holm_p": one.to_dense.p_value if known else None,
                        TRAIN_COST.name: one.point.mean(TRAIN_COST),
                        "tuning_cost": one.tuning_cost,
                    }
                )
    return pd.DataFrame(rows)
