"""What the command lines share: one-line complaints, and the options that name a trained model."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from tokendrop.errors import UserError, nearest

MODEL = "model folder that 'tokendrop fit' wrote, or the Hub name of such a model"


class Parser(argparse.ArgumentParser):
    """Options by their whole names; a mistake is a :class:`UserError`."""

    def __init__(self, command: str, **settings: Any) -> None:
        """
        Args:
            command: whose options they are.
            settings: those of ``argparse``.
        """
        # a command's other words are read by a second parser, which must see the same options
        super().__init__(prog=f"tokendrop {command}", allow_abbrev=False, **settings)
        self._words: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in ``argparse``; what was typed is kept for the complaint about it."""
        self._words = args or ()
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self._meant()}'{self.prog} --help' lists the options)")

    def _meant(self) -> str:
        """The options that misspelt ones may be, as ``--checkpont`` is none that is required."""
        known = [*self._option_string_actions]
        unnamed = [str(action.metavar) for action in self._get_positional_actions()]
        for word in self._words:
            name = word.partition("=")[0]
            # how most commands are told of a model
            if name == "--checkpoint" and name not in known and unnamed:
                return f"give the {unnamed[0]} without {name}; "
            if name.startswith("--") and name not in known and (near := nearest(name, known)):
                return f"did you mean {near} by {name}? "
        return ""


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that loads a model."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=os.path.expanduser,  # a shell leaves --checkpoint=~/model as it is
        metavar="FOLDER",
        help=MODEL,
    )
    add_trust_option(parser)


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """The option by which a model may bring a method of somebody else's."""
    parser.add_argument(
        "--trust-reducer",
        action="store_true",
        help="import and run the reducer class that the folder names, where it is none of this "
        "package; only for folders that you trust",
    )


def told_next(folder: Path, own: Sequence[str]) -> str:
    """Where a model lies, and the command that tests it.

    Args:
        folder: of the model.
        own: classes of its method that are none of this package's, see
            :func:`tokendrop.reducers.stored.to_be_trusted`.
    """
    test = ["tokendrop", "test", "--checkpoint", str(folder)]
    test += ["--trust-reducer"] * bool(own)
    return f"model: {folder}\nnext:  {shlex.join(test)}"


def split_off(option: str, words: Sequence[str]) -> tuple[str | None, list[str]]:
    """An option's value, in whichever form it is given, and all other words.

    It is None where the option is not given, and empty where its value is missing.

    >>> split_off("--sweep", ["--sweep=a.yaml", "--out", "b"])
    ('a.yaml', ['--out', 'b'])
    """
    finder = Parser("", add_help=False)
    finder.add_argument(option, dest="value", nargs="?", const="")
    found, others = finder.parse_known_args(list(words))
    return found.value, others
