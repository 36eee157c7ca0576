"""``tokendrop compare``: the grid of methods, operating points, tasks and seeds."""

from __future__ import annotations

import sys
from argparse import Action
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace

from tokendrop.cli.config_files import check_configs
from tokendrop.cli.options import split_off
from tokendrop.cli.overrides import (
    left_out_by_files,
    of_methods,
    with_fine_tuning_again,
    with_joined_data,
)
from tokendrop.cli.sweep import read_sweep
from tokendrop.compare.executors.cluster import Cluster
from tokendrop.compare.executors.shards import WHOLE, Shard
from tokendrop.compare.grid.method import Method
from tokendrop.compare.grid.runner import compare
from tokendrop.compare.grid.settings import Comparison
from tokendrop.configs import find_config
from tokendrop.errors import UserError, mistake_behind, no_settings, one_line
from tokendrop.reducers import REDUCERS
from tokendrop.setting_errors import setting_error

OF_A_RUN = {"cpu": 1.0}
"""What a run takes of a cluster if nothing is said."""
RUNS = {"operating_points", "space"}
"""What a sweep says of its method: which runs there are."""


class _Help(DefaultHelpFormatter):
    """Help that names the methods of the default file, and shows settings as a file has them."""

    def _get_help_string(self, action: Action) -> str:
        said, usual = super()._get_help_string(action), action.default
        if isinstance(usual, Namespace) and "init_args" in usual:
            return said.replace("%(default)s", str(usual.init_args.as_dict()))
        if isinstance(usual, dict) and any(isinstance(x, Namespace) for x in usual.values()):
            return said.replace("%(default)s", ", ".join(usual))
        return said


def parser() -> ArgumentParser:
    """The options."""
    parser = comparison_parser(
        "compare",
        "demo",
        "Train, evaluate and time every method of a grid, and write results.csv, summary.md, "
        "report.html, figures and one record per run. Run again with the same --out, it continues "
        "where it stopped, and adds the methods, tasks and seeds that are new.",
    )
    parser.add_argument(
        "--sweep",
        type=str,
        help="YAML file of a W&B sweep over a method's arguments, instead of a comparison's: each "
        "combination or draw is an operating point, of a Bayesian search the best trial on dev is; "
        "other options and files override what it says, all but its methods",
    )
    parser.add_argument(
        "--executor",
        choices=["serial", "ray"],
        default="serial",
        help="who makes the runs: this process, one after the other, or the workers of a Ray "
        "cluster, side by side, with equal results",
    )
    parser.add_argument(
        "--address",
        type=str,
        help="of the Ray cluster, auto for the one that this machine belongs to (default: workers "
        "of this machine)",
    )
    parser.add_argument(
        "--resources",
        type=dict[str, float],
        default=OF_A_RUN,
        help="what a run takes of the cluster: processors, also its threads, and GPUs, which "
        "fractions share, e.g. '{cpu: 2, gpu: 0.25}'",
    )
    parser.add_argument(
        "--shard",
        type=str,
        help="i/n: make the runs of every n-th training from the i-th on, as one of n jobs with "
        "the same --out; the last of them writes the tables",
    )
    return parser


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and compare."""
    sweep, words = _sweep_of(arguments)
    comparison, made = parsed_comparison(parser(), words)
    _check_swept(sweep, comparison)
    cluster = None
    if made.executor == "ray":
        cluster = Cluster(made.address, made.resources)
    elif made.address is not None:
        raise UserError(f"--address {made.address} is of a Ray cluster: add --executor ray")
    elif made.resources != OF_A_RUN:
        raise UserError(f"--resources {made.resources} are of a Ray cluster: add --executor ray")
    shard = WHOLE if made.shard is None else Shard.parse(made.shard)
    compare(comparison, Path(made.out), cluster, shard)
    sys.stdout.flush()


def comparison_parser(command: str, config: str, description: str) -> ArgumentParser:
    """The options of a command that works on a comparison.

    Args:
        command: its name, also of its output folder.
        config: file in configs/compare that is read where none is named.
        description: for its help.
    """
    parser = ArgumentParser(
        prog=f"tokendrop {command}",
        exit_on_error=False,
        allow_abbrev=False,
        description=description,
        default_config_files=[find_config("compare", config)],
        formatter_class=_Help,
    )
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file of the comparison; later files and options override earlier ones, "
        "--methods.NAME.arguments.ARGUMENT one argument of a method of the file, and "
        "--methods.NAME null, or NAME: null under methods of a later file, leaves it out. A later "
        "file that names methods names all that there are. A method that is given anew keeps what "
        "is not said again, also under another reducer, until --methods.NAME.arguments null takes "
        "it back (default: "
        f"configs/compare/{config}.yaml)",
    )
    parser.add_argument("--out", type=str, default=f"runs/{command}", help="output folder")
    parser.add_class_arguments(Comparison)
    return parser


def parsed_comparison(
    parser: ArgumentParser, arguments: Sequence[str]
) -> tuple[Comparison, Namespace]:
    """The comparison that the arguments describe, and the other options.

    A configuration that they name takes the place of the command's own.

    Raises:
        UserError: an option that does not exist or a value that does not fit.
    """
    changes, arguments = of_methods(arguments)
    files = check_configs(arguments, parser)
    left_out, arguments = left_out_by_files(arguments, files)
    arguments = with_fine_tuning_again(arguments, files)
    arguments = with_joined_data(arguments, files, Path(parser.default_config_files[0]))
    if split_off("--config", arguments)[0] is not None:
        parser.default_config_files = []
    try:
        parsed = parser.parse_args(list(arguments))
    except (ArgumentError, ValueError) as error:
        _check_methods(files.values())
        raise setting_error(error, REDUCERS, parser) from error
    if parsed.out is None:
        raise UserError("out null cannot be used: leave it out, or name a folder")
    for name, kind in get_type_hints(Comparison).items():
        if is_dataclass(kind) and not isinstance(parsed[name], Namespace):
            raise no_settings(name)
    for change in [*left_out, *changes]:
        change.make(parsed.methods)
    try:
        made = parser.instantiate(parsed)
    except ValueError as error:  # of settings that may also be null
        raise mistake_behind(error) or UserError(one_line(error)) from error
    return Comparison(**{field.name: made[field.name] for field in fields(Comparison)}), made


def _check_methods(files: Iterable[Mapping[str, Any]]) -> None:
    """Find out which method a complaint is about, for the parser names none.

    Raises:
        UserError: what is wrong, with the method's name.
    """
    for file in files:
        methods = file.get("methods")
        for name, given in methods.items() if isinstance(methods, dict) else ():
            if given is None:  # left out
                continue
            parser = ArgumentParser(exit_on_error=False)
            parser.add_argument("--methods", type=dict[str, Method])
            try:
                parser.parse_object({"methods": {name: given}})
            except ArgumentError as error:
                raise setting_error(error, REDUCERS, outermost=f"methods.{name}") from error


def _sweep_of(arguments: Sequence[str]) -> tuple[Mapping[str, Any], list[str]]:
    """A sweep's comparison, none without one; and the options, with it in front of them."""
    sweep, words = split_off("--sweep", arguments)
    if sweep is None:
        return {}, words
    if sum(word.partition("=")[0] == "--sweep" for word in arguments) > 1:
        raise UserError(
            "--sweep is given twice, and a comparison runs one: give the other one to a second "
            "command, which adds to the same --out"
        )
    settings = read_sweep(find_config("sweep", sweep))
    return settings, ["--config", yaml.safe_dump(settings, sort_keys=False), *words]


def _check_swept(sweep: Mapping[str, Any], comparison: Comparison) -> None:
    """
    Raises:
        UserError: other methods have taken the place of the sweep's, which would not be run.
    """
    for name, given in sweep.get("methods", {}).items():
        method = comparison.methods.get(name)
        for runs in RUNS & given.keys():
            if method is None or given[runs].keys() != getattr(method, runs).keys():
                raise UserError(
                    f"--sweep would not be run, for other settings take the place of {name!r}: "
                    "leave out --sweep, or the methods that an option or a file of --config names"
                )
