"""``tokendrop compare``: the grid of methods, operating points, tasks and seeds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser

from tokendrop.compare.runner import compare
from tokendrop.compare.settings import Comparison
from tokendrop.configs import find_config, setting_error


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and compare."""
    default: list[str | PathLike[str]] = []
    if "--config" not in arguments:
        default = [find_config("compare", "demo")]
    parser = ArgumentParser(
        prog="tokendrop compare",
        exit_on_error=False,
        description="Train, evaluate and time every method of a grid, and write results.csv, "
        "summary.md, report.html, figures and one record per run. Run again with the same --out, "
        "it continues where it stopped.",
        default_config_files=default,
    )
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file of the comparison; later files and options override earlier ones "
        "(default: configs/compare/demo.yaml)",
    )
    parser.add_argument("--out", type=str, default="runs/compare", help="output folder")
    parser.add_class_arguments(Comparison)
    try:
        parsed = parser.parse_args(list(arguments))
    except ArgumentError as error:
        raise setting_error(error) from error
    made = parser.instantiate(parsed)
    settings = {field.name: made[field.name] for field in fields(Comparison)}
    out = Path(made.out)
    compare(Comparison(**settings), out)
    print(f"\nreport: {out / 'report.html'}\ntables: {out / 'summary.md'}, {out / 'results.csv'}")
    sys.stdout.flush()
