"""What the parser of settings complains of, in one line with the value, its place and the cure.

The parser says it over many indented lines, one for every type that a value may have, with the
modules of our classes. Where its words are not those known here they are kept.
"""

from __future__ import annotations

import inspect
import re
import sys
from argparse import ArgumentError, ArgumentParser
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from pydoc import ErrorDuringImport, locate

from tokendrop.bounds import PLAIN
from tokendrop.configs import SUFFIXES
from tokendrop.errors import UserError, nearest, no_settings, one_line, unknown

_SETTINGS = "settings by their names"
_KINDS = {kind.__name__: said for kind, said in PLAIN.items()} | {
    "str": "a text, in quotes",
    "list": "a list, as [{}]",
    "dict": _SETTINGS,
    "collections.abc.Iterable": "a list",
    "NoneType": "null",
}
# what says nothing that the other lines do not
_NOISE = re.compile(
    r"Does not validate against|Errors:|Given value type:|Expected a path but "
    r"|Subclass types expect one of:|a class path \(str\)|a dict with|$"
)

_REDUCERS_FILE = re.compile(
    r"reducer\b.+?(?:Invalid content in sub-config file|Unexpected import path format:)"
    r" (.+?\.py)\b",
    re.DOTALL,
)
_NO_MODULE = re.compile(r"No module named '.+'")
_NO_CLASS = re.compile(r"module '.+' has no attribute '.+'")


def setting_error(
    error: ArgumentError | ValueError,
    reducers: Iterable[str],
    parser: ArgumentParser | None = None,
    outermost: str | None = None,
) -> UserError:
    """A complaint about settings for people.

    Args:
        error: what the parser raised.
        reducers: the methods of this package, of which one may have been meant.
        parser: whose complaint it is; with it, options that are alike are named.
        outermost: what the user calls the outermost setting, if not as the parser.
    """
    if isinstance(error, ValueError):  # of a text that no file can be called, where one could stand
        return UserError(f"a setting cannot be read: {one_line(error)}")
    said = str(error)
    # settings that others are linked to
    if found := re.match(r'Key "(\w+)\.[\w.]+" not found in namespace', said):
        return no_settings(found[1])
    # a file that lies there is read as one of settings, whatever it holds
    if found := _REDUCERS_FILE.search(said):
        return unknown_reducer(found[1], reducers)
    if parser is not None:
        if found := re.match(r"unrecognized arguments: (\S+)", said):
            return _strange_word(found[1], parser)
        if found := re.match(r"Group '(\w+)' does not accept option '(\w+)", said):
            there = (action.dest.split(".") for action in parser._actions)
            known = {name[1] for name in there if name[0] == found[1] and name[1:]}
            return unknown(f"setting of {found[1]}", found[2], known)
    complaint = _Complaint.read(said)
    if outermost is not None:
        complaint.place[:1] = [outermost]
    if complaint.is_class and complaint.where.endswith(("reducer", "parts")):
        return unknown_reducer(complaint.value, reducers)
    return complaint.told()


def unknown_reducer(name: str, reducers: Iterable[str]) -> UserError:
    """An error for a method that is none of this package's, nor the path of somebody's own."""
    if name.endswith(".py"):
        return _class_in(name)
    return UserError(
        f"{unknown('reducer', name, reducers)}, or name a class of your own by its dotted path, as "
        "my_module.MyReducer"
    )


def not_in_module(path: str) -> UserError:
    """An error for a class that its module, which was imported, does not have."""
    module, _, name = path.rpartition(".")
    found = vars(sys.modules.get(module, object)).items()
    known = [k for k, value in found if isinstance(value, type) and value.__module__ == module]
    if not known:
        return UserError(f"{path} cannot be imported, for {module} has no class: name another")
    return unknown(f"class of {module}", name, known)


def not_found(path: str, why: str) -> UserError:
    """An error for a class whose module, or one that this needs, is not found."""
    if path.endswith(".py"):
        return _class_in(path)
    return UserError(
        f"{path} cannot be imported ({why}): install the package that has it, or put the folder of "
        "its file on PYTHONPATH, as in 'PYTHONPATH=. tokendrop ...'"
    )


def _class_in(file: str) -> UserError:
    return UserError(
        f"{file} names a file: name the class in it, as {Path(file).stem}.MyReducer, with the "
        "file's folder on PYTHONPATH, as in 'PYTHONPATH=. tokendrop ...'"
    )


@dataclass
class _Complaint:
    """What the parser says of one value.

    Attributes:
        place: names of the setting, from the outermost.
        owner: the class whose setting it is, as a dotted path; empty at the top.
        option: a name that the owner has no setting of.
        value: as it was given.
        is_class: whether a class, or settings, should stand there.
        kinds: values that could stand there instead.
        choices: texts of which one could.
        others: all else that is said.
    """

    place: list[str] = field(default_factory=list)
    owner: str = ""
    option: str = ""
    value: str = ""
    is_class: bool = False
    kinds: list[str] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    _types: str = ""
    _kind: str = ""  # the class that the setting's type is
    _source: str = ""  # settings of a group, or their file
    _closed: bool = False

    @classmethod
    def read(cls, text: str) -> _Complaint:
        """Read the parser's words."""
        found = cls()
        for line in text.splitlines():
            found._add(line.strip().removeprefix("- "))
        return found

    @property
    def where(self) -> str:
        """The place with dots."""
        return ".".join(self.place)

    def told(self) -> UserError:
        """The same in one line."""
        owner = _class(self.owner)
        # a class that only holds settings is known by its place
        name = "" if owner is None or is_dataclass(owner) else owner.__name__
        if self.option:
            known = _arguments(owner)
            if name == "Reducer":  # the base, whose arguments all that is given was taken for
                return UserError(
                    f"a reducer in {self.where} is not written as one: give it as {{class_path: "
                    "AdapLeR, init_args: {...}}, with its arguments under init_args"
                )
            if name and not known:
                return UserError(
                    f"{name} has no arguments, so no {self.option!r}: name the method that has it, "
                    "or leave it out"
                )
            return unknown(
                f"argument of {name}" if name else f"setting of {self.where}", self.option, known
            )
        if missing := next(filter(None, map(_NO_MODULE.fullmatch, self.others)), None):
            if self.owner.endswith(SUFFIXES):
                return UserError(f"{self.where} {self.owner}: there is no such file")
            return not_found(self.owner, missing[0])
        if any(map(_NO_CLASS.fullmatch, self.others)) and "." in self.owner:
            return not_in_module(self.owner)
        if self.others:
            whose = name or (self.owner if owner is None else "") or self.where
            whose = f"{whose} {self._source}".strip()
            return UserError(f"{whose}: ".removeprefix(": ") + " ".join(self.others))
        named = f"{name}.{self.place[-1]}" if name and self.place else self.where
        if len(self.kinds) == 1 and self.choices:
            return unknown(named, self.value, self.choices)
        if hasattr(owner, "operating_arguments") and self._kind not in ("", "Reducer"):
            return UserError(
                f"{named} {self.value} is to be a {self._kind}, which no setting can say: give the "
                "argument a plain type, such as list[int], and make what is made of it in build"
            )
        # several classes that a setting may be are one kind of value
        kinds = ", or ".join(dict.fromkeys(kind.format(self.value) for kind in self.kinds))
        return UserError(f"{named} {self.value} must be {kinds}")

    def _add(self, said: str) -> None:
        if _NOISE.match(said):
            return
        if key := re.fullmatch(r'Parser key "(.+)":', said):
            # within a group it begins with the group's
            self.place.append(key[1].removeprefix(f"{self.where}."))
        elif value := re.fullmatch(r'Parser key ".+": Unable to load config "(.*)"', said):
            self._expect(f"{_SETTINGS}, or a file of them", value[1])
        elif source := re.fullmatch(r"Unable to load config (['\"])(.*)\1", said):
            self._source = source[2]
        elif kind := re.fullmatch(r"Problem with given class_path '(.+)':", said):
            self.owner = kind[1]
        elif option := re.fullmatch(r"Option '(.+)' is not accepted", said):
            self.option = option[1].split(".")[0]
        elif types := re.match(r"Subtypes: (.*)", said):
            self._types = types[1]
        elif name := re.fullmatch(r"Expected a dot import path string: (.*)", said):
            self.is_class = True
            self._expect(_SETTINGS if self._takes_settings() else "a class by its dotted path")
            self.value = self.value or name[1]
        elif value := re.fullmatch(r"Not a valid subclass of (\w+)(?:\. Got value: (.*))?", said):
            self._kind = value[1]
            self._expect(_SETTINGS, value[2])
        elif choices := re.fullmatch(
            r"Expected a typing\.Literal\[(.+)\](?:\. Got value: (.*))?", said
        ):
            self.choices += re.findall(r"'(.*?)'", choices[1])
            self._expect(" or ".join(self.choices), choices[2])
        elif value := re.fullmatch(
            r"Expected an? (?:<class ')?(.+?)(?:'>)?(?:\. Got value: (.*))?", said
        ):
            self._expect(_KINDS.get(value[1], value[1]), value[2])
        elif value := re.match(r"Given value: (.*)", said):
            self._expect(None, value[1])
        else:
            self.others.append(re.sub(r'^Not of type \w+: |(?<=in )"<unicode string>", ', "", said))

    def _takes_settings(self) -> bool:
        classes = [_class(path) for path in re.findall(r"<class '([\w.]+)'>", self._types)]
        return not self._types or any(map(is_dataclass, classes))

    def _expect(self, kind: str | None, value: str | None = None) -> None:
        """Add a kind of value, until the value is told: what follows is of all around it."""
        if self._closed:
            return
        if kind is not None:
            self.kinds.append(kind)
        if value is not None:
            self.value, self._closed = value, True


def _strange_word(word: str, parser: ArgumentParser) -> UserError:
    """An option that there is not, or a word without one."""
    if not word.startswith("-"):
        cure = f"'{parser.prog} --help' lists them"
        if word.endswith(SUFFIXES):
            cure = f"a file of settings is given as --config {word}"
        return UserError(f"{word} has no option in front of it: {cure}")
    name = word.split("=")[0]
    options = [option for action in parser._actions for option in action.option_strings]
    # the group that it names is no other name for it
    options = [option for option in options if not name.startswith(f"{option}.")]
    longer = (option for option in options if option.startswith(f"{name}_"))
    near = next(longer, None) or _elsewhere(name, options) or nearest(name, options)
    hint = f"did you mean {near}? " if near else ""
    return UserError(f"unknown option {name}: {hint}'{parser.prog} --help' lists all")


def _class(path: str) -> type | None:
    try:
        found = locate(path) if path else None
    except ErrorDuringImport:
        return None
    return found if isinstance(found, type) else None


def _arguments(owner: type | None) -> list[str]:
    """The arguments of a class by their names."""
    if owner is None:
        return []
    given = inspect.signature(owner).parameters.values()
    return [one.name for one in given if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def _elsewhere(name: str, options: Sequence[str]) -> str | None:
    """The option of the same name in a group or outside of one, as another command has it."""
    parts = name.lstrip("-").split(".")
    for count in range(len(parts), 0, -1):
        for option in options:
            outside = option[2:] in (".".join(parts[n:count]) for n in range(1, count))
            if outside or option.endswith("." + ".".join(parts[:count])):
                return ".".join([option, *parts[count:]])
    return None
