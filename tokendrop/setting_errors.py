"""What the parser of settings complains of, as one line with the value, its place and the cure."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
from argparse import ArgumentError, ArgumentParser
from collections.abc import Iterable
from pydoc import locate
from typing import Any

from tokendrop.configs import SUFFIXES
from tokendrop.errors import UserError, no_settings, one_line, unknown

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list, as [{}]",
    "dict": "settings by their names",
}


def setting_error(
    error: ArgumentError | ValueError,
    reducers: Iterable[str],
    parser: ArgumentParser | None = None,
) -> UserError:
    """A complaint about settings for people.

    Args:
        error: what the parser raised.
        reducers: the methods of this package, of which one may have been meant.
        parser: whose complaint it is; with it, options that are alike are named.
    """
    if isinstance(error, ValueError):  # of a text that no file can be called, where one could stand
        return UserError(f"a setting cannot be read: {one_line(error)}")
    message = re.sub(r'Parser key "([\w.]+)":', r"\1:", one_line(error))
    # settings that others are linked to
    if found := re.search(r'^Key "(\w+)\.[\w.]+" not found in namespace', message):
        return no_settings(found.group(1))
    place = found.group(1) if (found := re.match(r"([\w.]+): ", message)) else ""
    if found := re.search(r"Expected a dot import path string: (\w+)", message):
        name = found.group(1)
        if place.endswith(("reducer", "parts")):
            return unknown("reducer", name, reducers)
        return UserError(f"{place} {name} is no set of settings: name one, as --{place}.NAME")
    made = (
        _strange_word(message, parser)
        or _strange_name(message, place, parser)
        or _wrong_kind(message, place)
    )
    owner, tail = _owner(message)
    return made or UserError(message if owner is None else f"{owner.__name__}: {tail}")


def _strange_word(message: str, parser: ArgumentParser | None) -> UserError | None:
    """An option that there is not, or a word without one."""
    found = re.match(r"unrecognized arguments: (\S+)", message)
    if not found or parser is None:
        return None
    word = found.group(1)
    if not word.startswith("-"):
        cure = f"'{parser.prog} --help' lists them"
        if word.endswith(SUFFIXES):
            cure = f"a file of settings is given as --config {word}"
        return UserError(f"{word} has no option in front of it: {cure}")
    name = word.split("=")[0]
    options = [option for action in parser._actions for option in action.option_strings]
    # the group that it names is no other name for it
    options = [option for option in options if not name.startswith(f"{option}.")]
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.75)
    hint = f"did you mean {near[0]}? " if near else ""
    return UserError(f"unknown option {name}: {hint}'{parser.prog} --help' lists all")


def _strange_name(message: str, place: str, parser: ArgumentParser | None) -> UserError | None:
    """A setting that a class or a group does not have."""
    owner, tail = _owner(message)
    if found := re.search(r"Option '(\w+)[\w.]*' is not accepted", tail):
        if owner is None:
            return None
        kind = f"setting of {place}" if _is_group(owner) else f"argument of {owner.__name__}"
        if not (known := _arguments(owner)):
            return UserError(
                f"{owner.__name__} has no arguments, so no {found.group(1)!r}: name the method "
                "that has it, or leave it out"
            )
        return unknown(kind, found.group(1), known)
    if (found := re.search(r"Group '(\w+)' does not accept option '(\w+)", tail)) and parser:
        group, name = found.groups()
        there = (action.dest.split(".") for action in parser._actions)
        return unknown(
            f"setting of {group}", name, {x[1] for x in there if x[0] == group and x[1:]}
        )
    return None


def _wrong_kind(message: str, place: str) -> UserError | None:
    """A value of another type than its setting has."""
    owner, tail = _owner(message)
    # a class of Python's, or texts to choose from
    expected = r"<class '(\w+)'>|typing\.Literal\[(.*)\]"
    found = re.match(rf"(?:([\w.]+): )?Expected an? (?:{expected})\. Got value: (.*)", tail)
    if not found:
        return None
    name, kind, choices, value = found.groups()
    if owner is not None and name:
        name = f"{place}.{name}" if _is_group(owner) else f"{owner.__name__}.{name}"
    if choices:
        return unknown(name or place, value, re.findall(r"'([^']*)'", choices))
    if kind not in KINDS:
        return None
    return UserError(f"{name or place} {value} must be {KINDS[kind].format(value)}")


def _owner(message: str) -> tuple[Any, str]:
    """The innermost class that the complaint is about, if any, and what is said of it."""
    *_, last = [None, *re.finditer(r"Problem with given class_path '([\w.]+)': ", message)]
    if last is None:
        return None, message
    # the rest says that the setting may be null as well
    return locate(last.group(1)), message[last.end() :].split(" - Expected a <class 'NoneType'>")[0]


def _arguments(owner: Any) -> list[str]:
    """The arguments of a class by their names."""
    given = inspect.signature(owner).parameters.values()
    return [x.name for x in given if x.kind not in (x.VAR_POSITIONAL, x.VAR_KEYWORD)]


def _is_group(owner: Any) -> bool:
    """Whether a class only holds settings, which people know by their place, not by its name."""
    return dataclasses.is_dataclass(owner)
