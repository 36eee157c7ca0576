"""``tokendrop rationale``: what methods keep against what people marked as the reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from tokendrop.cli.compare import comparison_parser, parsed_comparison
from tokendrop.compare.grid.agreement import compare_rationales
from tokendrop.compare.report.agreement import rationale_tables
from tokendrop.progress import table_console


def parser() -> ArgumentParser:
    """The options."""
    parser = comparison_parser(
        "rationale",
        "rationale",
        "Train every method of a comparison, unless that was done before, and measure how well "
        "the tokens it keeps agree with human rationales of the test rows, beside controls that "
        "keep as many tokens: by gradient x input and by received attention of the fine-tuned "
        "model, and at random. Writes rationale.csv and one record per run; run again with the "
        "same --out, it continues where it stopped. The folder may be one of 'tokendrop compare' "
        "with the same settings, whose training is then used.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    return parser


def run(arguments: Sequence[str]) -> None:
    """Parse the command line, train what is missing, and measure."""
    comparison, made = parsed_comparison(parser(), arguments)
    out = Path(made.out)
    found = compare_rationales(comparison, out)
    if made.json:
        print(found.to_json(orient="records", indent=1))
        return
    console = table_console()
    for table in rationale_tables(found):
        console.print(table)
    print(f"all numbers: {out / 'rationale.csv'}")
