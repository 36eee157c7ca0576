"""``tokendrop compare``: the grid of methods, operating points, tasks and seeds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from tokendrop.compare.runner import compare
from tokendrop.compare.settings import Comparison
from tokendrop.compare.sweep import read_sweep
from tokendrop.configs import find_config, setting_error


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and compare."""
    words = _with_sweep(arguments)
    parser = comparison_parser(
        "compare",
        "demo",
        "Train, evaluate and time every method of a grid, and write results.csv, summary.md, "
        "report.html, figures and one record per run. Run again with the same --out, it continues "
        "where it stopped, and adds the methods, tasks and seeds that are new.",
        words,
    )
    parser.add_argument(
        "--sweep",
        type=str,
        help="YAML file of a W&B sweep over a method's arguments, instead of a comparison's: each "
        "combination or draw is an operating point; other options override what it says",
    )
    comparison, made = parsed_comparison(parser, words)
    out = Path(made.out)
    compare(comparison, out)
    sys.stdout.flush()


def comparison_parser(
    command: str, config: str, description: str, arguments: Sequence[str]
) -> ArgumentParser:
    """The options of a command that works on a comparison.

    Args:
        command: its name, also of its output folder.
        config: file in configs/compare that is read where none is named.
        description: for its help.
        arguments: what was given.
    """
    default: list[str | PathLike[str]] = []
    if "--config" not in arguments:
        default = [find_config("compare", config)]
    parser = ArgumentParser(
        prog=f"tokendrop {command}",
        exit_on_error=False,
        description=description,
        default_config_files=default,
    )
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file of the comparison; later files and options override earlier ones "
        f"(default: configs/compare/{config}.yaml)",
    )
    parser.add_argument("--out", type=str, default=f"runs/{command}", help="output folder")
    parser.add_class_arguments(Comparison)
    return parser


def parsed_comparison(
    parser: ArgumentParser, arguments: Sequence[str]
) -> tuple[Comparison, Namespace]:
    """The comparison that the arguments describe, and the other options.

    Raises:
        UserError: an option that does not exist or a value that does not fit.
    """
    try:
        parsed = parser.parse_args(list(arguments))
    except ArgumentError as error:
        raise setting_error(error) from error
    made = parser.instantiate(parsed)
    return Comparison(**{field.name: made[field.name] for field in fields(Comparison)}), made


def _with_sweep(arguments: Sequence[str]) -> list[str]:
    """The options, with the comparison that a sweep's file stands for in front of them."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--sweep")
    found, words = finder.parse_known_args(list(arguments))
    if found.sweep is None:
        return words
    settings = read_sweep(find_config("sweep", found.sweep))
    return ["--config", yaml.safe_dump(settings, sort_keys=False), *words]
