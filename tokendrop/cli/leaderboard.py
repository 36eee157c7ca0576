"""``tokendrop leaderboard``: checked rows of comparisons, and the page that shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tokendrop.cli.options import Parser
from tokendrop.cli.ours import is_ours
from tokendrop.compare.leaderboard.entries import (
    Entry,
    entries_of,
    read_entries,
    write_entries,
)
from tokendrop.compare.leaderboard.page import write_page
from tokendrop.errors import UserError
from tokendrop.files import check_file
from tokendrop.holding import one_writer

MARKS = {".csv": "task,encoder,method,", ".html": "<title>tokendrop: leaderboard</title>"}
"""What the beginning of a file holds that this command has written, by its form."""


def parser() -> Parser:
    """The options."""
    parser = Parser(
        "leaderboard",
        description="Make rows of a leaderboard out of a comparison, or a page out of such rows. "
        "Runs are checked first: one whose record does not say what made it, or says another "
        "metric than its saved answers give, is refused.",
        epilog="A comparison's rows: tokendrop leaderboard runs/mine --out mine.csv. The page of "
        "many: tokendrop leaderboard *.csv --out leaderboard.html",
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="output folders of one comparison, and CSV files that this command has written",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="FILE.csv for the rows, FILE.html for the page",
    )
    return parser


def run(arguments: Sequence[str]) -> None:
    """Parse the command line, check the sources and write."""
    options = parser().parse_args(arguments)
    out = Path(options.out)
    if out.suffix not in (".csv", ".html"):
        raise UserError(f"--out {out} is neither rows nor a page: name a .csv or a .html file")
    _check_ours(out)
    sources = [Path(source) for source in options.sources]
    files = [source for source in sources if source.suffix == ".csv"]
    folders = [source for source in sources if source.suffix != ".csv"]
    entries: list[Entry] = entries_of(folders) if folders else []
    for file in files:
        entries += read_entries(file)
    entries = list(dict.fromkeys(entries))  # a row may lie in a folder and in the file made of it
    twice = [name for name, times in Counter(e.name for e in entries).items() if times > 1]
    if twice and out.suffix == ".csv":
        raise UserError(f"{min(twice)} is in several of the sources: name each row once")
    check_file(out, "--out")
    with one_writer(out):
        (write_entries if out.suffix == ".csv" else write_page)(out, entries)
    print(f"{len(entries)} rows: {out}")


def _check_ours(out: Path) -> None:
    """
    Raises:
        UserError: a file of somebody else would be written over, as a comparison's results.csv.
    """
    if out.is_file() and out.stat().st_size and not is_ours(out, MARKS[out.suffix]):
        raise UserError(
            f"--out {out} is there already and no leaderboard: name another file, or move it away"
        )
