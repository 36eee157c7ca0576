"""Options that change a part of what a comparison's files say.

The parser would put the value of an option, or of a later file, in the place of the whole setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from tokendrop.configs import read_config, read_value
from tokendrop.errors import UserError, unknown

DATA = {"data": 1, "task_data": 2}
"""Settings that are joined, and how many names deep: data by setting, task_data by task too."""

WHOLE = ("operating_points", "task_arguments", "space")
"""Settings of a method that are given as a whole, of which an option cannot name a part."""


@dataclass(frozen=True)
class MethodChange:
    """What an option says of one method of a file.

    Attributes:
        method: its name.
        argument: that gets another value; None to leave the method out.
        value: as it was given.
    """

    method: str
    argument: str | None
    value: str

    def make(self, methods: dict[str, Namespace]) -> None:
        """Change the methods.

        Raises:
            UserError: there is no such method, or the value is no YAML.
        """
        if self.method not in methods:
            raise unknown("method", self.method, methods)
        if self.argument is None:
            del methods[self.method]
            return
        known = methods[self.method].arguments or {}
        methods[self.method].arguments = {**known, self.argument: read_value(self.value)}


def of_methods(words: Sequence[str]) -> tuple[list[MethodChange], list[str]]:
    """What ``--methods.NAME null`` and ``--methods.NAME.arguments.ARGUMENT`` say; other options.

    Raises:
        UserError: one is of a part of what can be given as a whole only.
    """
    changes: list[MethodChange] = []
    others: list[str] = []
    for option, value, given in _options(words):
        if whole := re.match(rf"--methods\.[^.]+\.({'|'.join(WHOLE)})(?=\.)", option):
            raise UserError(
                f"{option} cannot be changed alone: give all {whole[1]} of the method by "
                f"{whole[0]} '{{...}}'"
            )
        found = re.fullmatch(r"--methods\.([^.]+)(?:\.arguments\.(.+))?", option)
        if found and (found[2] or value == "null"):
            changes.append(MethodChange(found[1], found[2], value))
        else:
            others += given
    return changes, others


def left_out_by_files(
    words: Sequence[str], files: Mapping[str, Mapping[str, Any]]
) -> tuple[list[MethodChange], list[str]]:
    """What files leave out by ``NAME: null`` under ``methods``, and the options without that.

    A file that names no other methods is about those of earlier files. The methods of one that
    does take the place of all earlier ones, whatever was left out of these.

    Args:
        words: the options.
        files: the settings of those that they name, by path.
    """
    changes: list[MethodChange] = []
    others: list[str] = []
    for option, value, given in _options(words):
        methods = files.get(value, {}).get("methods") if option == "--config" else None
        if not isinstance(methods, Mapping) or not methods:
            others += given
            continue
        named = {name: one for name, one in methods.items() if one is not None}
        out = [MethodChange(str(name), None, "null") for name in methods if name not in named]
        changes = [] if named else changes + out
        if out:
            settings = {**files[value], "methods": named}
            if not named:
                del settings["methods"]
            given = ["--config", yaml.safe_dump(settings, sort_keys=False)]
        others += given
    return changes, others


def with_fine_tuning_again(
    words: Sequence[str], files: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """The options, without ``fine_tune: null`` of files behind which it is set.

    What is set behind a null the parser takes for all of it; else it is added to the defaults.
    """
    others: list[str] = []
    is_set = False
    for option, value, given in reversed(list(_options(words))):
        if re.match(r"--fine_tune\b", option):
            is_set = is_set or option != "--fine_tune" or value != "null"
        elif option == "--config":
            try:
                settings = _said(option, value, files)
            except UserError:  # for the parser to complain of
                settings = {}
            if is_set and settings.get("fine_tune", ...) is None:
                rest = {name: one for name, one in settings.items() if name != "fine_tune"}
                given = ["--config", yaml.safe_dump(rest, sort_keys=False)]
            is_set = is_set or settings.get("fine_tune") is not None
        others[:0] = given
    return others


def with_joined_data(
    words: Sequence[str], files: Mapping[str, Mapping[str, Any]], default: Path
) -> list[str]:
    """The options, with one for all that files and options say of the data.

    What comes later changes the settings that it names and leaves the others. Values that the
    parser must complain of are left to it.

    Args:
        words: the options.
        files: the settings of those that they name, by path.
        default: the file that is read where they name none.
    """
    named = any(option == "--config" for option, _, _ in _options(words))
    everything = [*words]
    if not named:
        everything[:0] = ["--config", str(default)]
        files = {str(default): read_config(default)}
    joined: dict[str, dict[str, Any]] = {name: {} for name in DATA}
    pieces = dict.fromkeys(DATA, 0)
    for option, value, _ in _options(everything):
        try:
            said = _said(option, value, files)
        except UserError:
            return list(words)
        for name in DATA.keys() & said.keys():
            piece, levels = said[name], max(DATA[name], option.count("."))
            if not isinstance(piece, Mapping):
                return list(words)
            _join(joined[name], piece, levels)
            pieces[name] += 1
    several = [name for name in DATA if pieces[name] > 1]
    others = [
        word
        for option, _, given in _options(words)
        for word in given
        if option.removeprefix("--").split(".")[0] not in several
    ]
    for name in several:
        others += [f"--{name}", yaml.safe_dump(joined[name], sort_keys=False)]
    return others


def _options(words: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Each option, its value, and the words that give them; other words alone."""
    given = iter(words)
    for word in given:
        option, equals, value = word.partition("=")
        if equals or not re.match(r"--(config$|methods\.|(task_)?data\b|fine_tune\b)", option):
            yield option, value, [word]
        else:
            following = list(islice(given, 1))
            yield option, "".join(following), [word, *following]


def _said(option: str, value: str, files: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """The settings that an option or the file that it names says."""
    if option == "--config":
        # settings may stand there themselves
        settings = files[value] if value in files else read_value(value)
        return settings if isinstance(settings, Mapping) else {}
    names = option.removeprefix("--").split(".")
    if names[0] not in DATA:
        return {}
    said: Any = read_value(value)
    for name in reversed(names):
        said = {name: said}
    return said


def _join(whole: dict[str, Any], more: Mapping[str, Any], levels: int) -> None:
    for name, value in more.items():
        known = whole.get(name)
        if levels > 1 and isinstance(value, Mapping) and isinstance(known, dict):
            _join(known, value, levels - 1)
        else:
            whole[name] = value
