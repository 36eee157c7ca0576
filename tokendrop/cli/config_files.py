"""The files of settings that a command line names."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokendrop.cli.options import Parser
from tokendrop.configs import cure_of_path, read_config
from tokendrop.errors import UserError, unknown

OF_OTHERS = {
    "methods": "it is of a comparison: give it to 'tokendrop compare'",
    "model": "it is of a training, or a task: a comparison has it among its tasks, as "
    "--tasks '[{}]'",
    "command": "it is of a sweep: give it to 'tokendrop compare' as --sweep {}",
}
"""What a file is that was made for another command, by a setting that tells it."""


def check_configs(
    words: Sequence[str], parser: argparse.ArgumentParser
) -> dict[str, dict[str, Any]]:
    """Read the files that ``--config`` names, for a complaint that names the file.

    Args:
        words: the options.
        parser: whose settings they should hold.

    Returns:
        the settings of each file, as they stand there, by its path.

    Raises:
        UserError: one is not there, is no YAML, has no settings, one of them twice, or those of
            something else.
    """
    known = {action.dest.split(".")[0] for action in parser._actions}
    finder = Parser(parser.prog.removeprefix("tokendrop "), add_help=False)
    finder.add_argument("-c", "--config", action="append", default=[])
    found, _ = finder.parse_known_args(list(words))
    files = [given for given in found.config if os.path.isfile(given)]
    for given in found.config:
        # settings may stand there themselves
        if given not in files and not {":", "{"} & {*given}:
            what = "is a folder, no" if os.path.isdir(given) else "is no such"
            cure = cure_of_path(given)
            raise UserError(f"--config {given}: there {what} file of settings; {cure}")
    every = {file: read_config(Path(file)) for file in files}
    for file, settings in every.items():
        strange = sorted({str(name).split(".")[0] for name in settings} - known)
        for name in (name for name in strange if name in OF_OTHERS):
            raise UserError(
                f"{file} cannot be settings of '{parser.prog}', for it has {name!r}: "
                f"{OF_OTHERS[name].format(file)}"
            )
        for name in strange:
            raise unknown(f"setting in {file}", name, known - {"help", "config", "print_config"})
    return every
