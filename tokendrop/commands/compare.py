"""``tokendrop compare``: the grid of methods, operating points, tasks and seeds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from tokendrop.compare.runner import compare
from tokendrop.compare.settings import Comparison
from tokendrop.compare.sweep import read_sweep
from tokendrop.configs import find_config, setting_error


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and compare."""
    default: list[str | PathLike[str]] = []
    words = _with_sweep(arguments)
    if "--config" not in words:
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
    parser.add_argument(
        "--sweep",
        type=str,
        help="YAML file of a W&B sweep over a method's arguments, instead of a comparison's: each "
        "combination or draw is an operating point; other options override what it says",
    )
    parser.add_argument("--out", type=str, default="runs/compare", help="output folder")
    parser.add_class_arguments(Comparison)
    try:
        parsed = parser.parse_args(words)
    except ArgumentError as error:
        raise setting_error(error) from error
    made = parser.instantiate(parsed)
    settings = {field.name: made[field.name] for field in fields(Comparison)}
    out = Path(made.out)
    compare(Comparison(**settings), out)
    print(f"\nreport: {out / 'report.html'}\ntables: {out / 'summary.md'}, {out / 'results.csv'}")
    sys.stdout.flush()


def _with_sweep(arguments: Sequence[str]) -> list[str]:
    """The options, with the comparison that a sweep's file stands for in front of them."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--sweep")
    found, words = finder.parse_known_args(list(arguments))
    if found.sweep is None:
        return words
    settings = read_sweep(find_config("sweep", found.sweep))
    return ["--config", yaml.safe_dump(settings, sort_keys=False), *words]
