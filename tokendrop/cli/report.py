"""``tokendrop report``: several comparisons in one report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokendrop.cli.options import Parser
from tokendrop.cli.ours import is_ours
from tokendrop.compare.report.outputs import write_outputs
from tokendrop.compare.results.joining import joined_comparisons
from tokendrop.compare.results.records import SETTINGS
from tokendrop.files import check_untaken
from tokendrop.holding import hold

MARK = "<title>tokendrop: "
"""What the beginning of a report holds."""


def parser() -> Parser:
    """The options."""
    parser = Parser(
        "report",
        description="Write one report, with its tables and figures, of the folders that "
        "'tokendrop compare' has written: more methods, seeds or tasks side by side. A run that "
        "lies in several folders must say the same in each; the times of the first are shown.",
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", help="output folder of a comparison")
    parser.add_argument(
        "--out",
        default="runs/report",
        metavar="FOLDER",
        help="for report.html, summary.md, results.csv and figures (default: runs/report)",
    )
    return parser


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and report."""
    options = parser().parse_args(arguments)
    records, floors = joined_comparisons([Path(folder) for folder in options.folders])
    out = Path(options.out)
    # the report is written before its tables
    ours = [SETTINGS, *["report.html"] * is_ours(out / "report.html", MARK)]
    check_untaken(out, ("report.html", "results.csv", "summary.md"), ours, "report")
    with hold(out):
        print(write_outputs(out, records, floors).places)
