"""The files of a page of docs/study, from the folders of its comparison.

    python tools/study_page.py docs/study/sst2 study/sst2

Writes summary.md, results.csv, figures/trade_off_flops.png and lengths.csv (right answers by the
length of the texts, in per cent, and the difference to dense in points with its interval), and the
rows of docs/study/leaderboard. With --no-clock, for runs that other work disturbed, the tables
have no times.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from tokendrop.cli import main
from tokendrop.compare.report.outputs import write_outputs
from tokendrop.compare.report.summary import NOISE
from tokendrop.compare.report.tables import show_gap
from tokendrop.compare.results.joining import joined_comparisons

TIMES = [
    *("throughput_speedup_padded", "throughput_speedup_unpadded", "latency_speedup_b1"),
    "train_seconds",
]
SHOWN_TIMES = ("Clock", "Train s")
FIGURE = Path("figures", "trade_off_flops.png")


def lengths(found: pd.DataFrame) -> pd.DataFrame:
    """The report's own panel, rounded as its tables are."""
    shown = pd.DataFrame(
        {
            "task": found["task"],
            "point": found["point"],
            "tokens": found["tokens"].str.removesuffix(" tokens"),
            "right_percent": [f"{100 * share:.1f}" for share in found["right"]],
        }
        | {
            name: [show_gap(gap) if pd.notna(gap) else "" for gap in found[name]]
            for name in ("vs_dense", "low", "high")
        }
    )
    return shown if shown["task"].nunique() > 1 else shown.drop(columns="task")


def without_times(summary: str) -> str:
    """A summary without the columns of the clock and what explains them."""
    kept, times = [], set[int]()
    for line in summary.splitlines():
        if line.startswith("|"):
            cells = line.strip("|").split("|")
            if not kept[-1].startswith("|"):
                times = {n for n, cell in enumerate(cells) if cell.strip().startswith(SHOWN_TIMES)}
            cells = [cell for n, cell in enumerate(cells) if n not in times]
            kept.append(f"|{'|'.join(cells)}|")
        elif not line.startswith((*(f"- **{name}" for name in SHOWN_TIMES), NOISE)):
            kept.append(line)
    return "\n".join(kept) + "\n"


def write_page(page: Path, folders: list[Path], clock: bool = True) -> None:
    """Write the files of a page, all but its README.md."""
    records, floors = joined_comparisons(folders)
    with TemporaryDirectory() as place:
        found = write_outputs(Path(place), records, floors)
        (page / FIGURE.parent).mkdir(parents=True, exist_ok=True)
        summary = found.summary.read_text(encoding="utf-8")
        results = pd.read_csv(found.results, dtype=str)
        if not clock:
            summary, results = without_times(summary), results.drop(columns=TIMES)
        (page / "summary.md").write_text(summary, encoding="utf-8")
        results.to_csv(page / "results.csv", index=False)
        shutil.copy(Path(place) / FIGURE, page / FIGURE)
        if "lengths" in found.frames:
            lengths(found.frames["lengths"]).to_csv(page / "lengths.csv", index=False)
    rows = page.parent / "leaderboard" / f"{page.name}.csv"
    if code := main(["leaderboard", *map(str, folders), "--out", str(rows)]):
        raise SystemExit(code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path, help="folder below docs/study")
    parser.add_argument("folders", type=Path, nargs="+", help="output folders of compare")
    parser.add_argument("--no-clock", dest="clock", action="store_false")
    options = parser.parse_args()
    write_page(options.page, options.folders, options.clock)
