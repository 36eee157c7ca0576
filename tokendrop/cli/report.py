"""``tokendrop report``: several comparisons in one report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokendrop.cli.options import Parser
from tokendrop.compare.report.outputs import write_outputs
from tokendrop.compare.results.joining import joined_comparisons
from tokendrop.compare.results.records import SETTINGS
from tokendrop.errors import UserError
from tokendrop.holding import hold


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
    _check_folder(out)
    with hold(out):
        print(write_outputs(out, records, floors).places)


def _check_folder(out: Path) -> None:
    """Find out whether a folder has tables of something else, which would be written over.

    Raises:
        UserError: it has, and neither a report, which is written before them, nor a comparison.
    """
    if any((out / ours).is_file() for ours in ("report.html", SETTINGS)):
        return
    for name in ("results.csv", "summary.md"):
        if (out / name).is_file():
            raise UserError(
                f"{out} has {name} of something else and no report: name another folder with "
                "--out, or move it away"
            )
