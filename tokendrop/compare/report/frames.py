"""The panels of the report as tables, for trackers and other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tokendrop.compare.report.calibration import calibrations
from tokendrop.compare.report.tokens import exit_panel, fates_of, kinds_panel
from tokendrop.compare.results.fronts import fronts_frame
from tokendrop.compare.results.records import Record


def panel_frames(records: Sequence[Record], folder: Path) -> dict[str, pd.DataFrame]:
    """One table for each panel that has something to show, shares in per cent.

    Args:
        records: of a comparison.
        folder: where the files that they name lie.

    Raises:
        UserError: a file that a record names is missing or torn.
    """
    fates = fates_of(records, folder)
    exits = [
        {"point": panel["name"], "layers": at["layer"], "rows": at["share"]}
        for panel in exit_panel(fates)
        for at in panel["shares"]
    ]
    kinds = [
        {"point": panel["name"], "kind": row["kind"], "layer": layer, "left": share}
        for panel in kinds_panel(fates)
        for row in panel["kinds"]
        for layer, share in enumerate(row["shares"], start=1)
    ]
    calibration = [
        {"task": one.point.task, "point": one.point.name, "error": 100 * one.error}
        for one in calibrations(records, folder)
    ]
    frames = {
        "budgets": fronts_frame(records),
        "exits": pd.DataFrame(exits),
        "kinds": pd.DataFrame(kinds),
        "calibration": pd.DataFrame(calibration),
    }
    return {name: frame for name, frame in frames.items() if len(frame)}
