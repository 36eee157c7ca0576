"""Several tasks at a glance: how far each method goes without being worse than dense."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from tokendrop.compare.results.budgets import SameBudget, Standing

TITLE = "How far each method keeps up with dense"
CAPTION = (
    "The largest budget, in times fewer FLOPs, at which a method is not told to be worse than "
    "dense. It loses where it is worse at each budget that it reaches, and reaches none where no "
    "point of it saves enough; what stands empty was not compared. Not told to be worse is not "
    "equal: few rows or seeds tell little apart, so the interval behind each cell, in the task's "
    "own table, says how much can be lost."
)
LOSES, NONE = "loses", "reaches none"


def overview(budgets: Sequence[SameBudget]) -> pd.DataFrame:
    """One row per method and one column per task, as text; no rows for a single task.

    Args:
        budgets: of each task. One whose dense model has learned nothing is left out.
    """
    judged = [found for found in budgets if found.budgets and found.dense and found.dense_learned]
    if len(judged) < 2:
        return pd.DataFrame()
    columns = {_column(found): _cells(found) for found in judged}
    frame = pd.DataFrame(columns).fillna("").sort_index()
    return frame.rename_axis("Method").reset_index()


def _column(found: SameBudget) -> str:
    assert found.dense is not None
    return f"{found.task} ({found.dense.runs[0].examples_eval:,} rows)"


def _cells(found: SameBudget) -> dict[str, str]:
    """What stands for each method, from the smallest budget to the largest."""
    cells: dict[str, str] = {}
    for at in sorted(found.budgets, key=lambda at: at.speedup):
        for name in at.too_slow:
            cells.setdefault(name, NONE)
        for one in at.standings:
            name = one.point.method
            if _keeps_up(one):
                cells[name] = f"{at.speedup:g}x"
            elif one.to_dense.difference is not None and cells.get(name, NONE) == NONE:
                cells[name] = LOSES
    return cells


def _keeps_up(one: Standing) -> bool:
    difference = one.to_dense.difference
    return difference is not None and not (one.to_dense.told_apart and difference.value < 0)
