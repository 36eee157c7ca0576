"""Everything that is written about a comparison's runs: tables, figures and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tokendrop.compare.report.figures import write_figures
from tokendrop.compare.report.page import write_report
from tokendrop.compare.report.summary import write_summary
from tokendrop.compare.results.analysis import Analysis, analyse
from tokendrop.compare.results.floor import Floor
from tokendrop.compare.results.frame import write_results
from tokendrop.compare.results.records import Record


@dataclass(frozen=True)
class Outputs:
    """What was written.

    Attributes:
        analysis: what went into all of it.
        results, summary, report: the files.
        figures: files by name.
        frames: the numbers of the report's panels, by name.
    """

    analysis: Analysis
    results: Path
    summary: Path
    report: Path
    figures: dict[str, Path]
    frames: dict[str, pd.DataFrame]

    @property
    def places(self) -> str:
        """Where to look, for the end of a command."""
        return f"report: {self.report}\ntables: {self.summary}, {self.results}"


def write_outputs(out: Path, records: Sequence[Record], floors: Sequence[Floor]) -> Outputs:
    """Write ``results.csv``, ``summary.md``, ``figures/`` and ``report.html``.

    Args:
        out: folder; the files that records name lie there, or are named by whole paths.
        records: at least one.
        floors: shown below the tables, and what the value of a method is counted from.

    Raises:
        UserError: a file that a record names is missing, torn or another run's.
    """
    known = analyse(records, floors, out)
    report = write_report(out, records, floors, known)
    return Outputs(
        analysis=known,
        results=write_results(out, records, known),
        summary=write_summary(out, records, floors, known),
        report=report.path,
        figures=write_figures(out, records, known.statistics),
        frames=report.frames,
    )
