"""The files of settings that a command line names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokendrop.cli.options import Parser
from tokendrop.configs import read_config


def check_configs(words: Sequence[str]) -> list[dict[str, Any]]:
    """Read the files that ``--config`` names, for a complaint that names the file.

    Returns:
        the settings of each file, as they stand there.

    Raises:
        UserError: one is no YAML, has no settings, or one of them twice.
    """
    finder = Parser("", add_help=False)
    finder.add_argument("-c", "--config", action="append", default=[])
    found, _ = finder.parse_known_args(list(words))
    # settings may stand there themselves
    return [read_config(Path(given)) for given in found.config if os.path.isfile(given)]
