"""What the options' parser says of settings that it does not take, in one plain line.

It says so over many indented lines, one for every type that a value may have, with the modules of
our classes. Where its words are not those known here they are kept.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field, is_dataclass
from pydoc import ErrorDuringImport, locate

from tokendrop.errors import UserError, unknown

_SETTINGS = "settings by their names"
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list",
    "dict": _SETTINGS,
    "collections.abc.Iterable": "a list",
    "NoneType": "null",
}
# what says nothing that the other lines do not
_NOISE = re.compile(
    r"Does not validate against|Errors:|Given value type:|Expected a path but "
    r"|Subclass types expect one of:|a class path \(str\)|a dict with|$"
)


@dataclass
class Complaint:
    """What the parser says of one value.

    Attributes:
        place: names of the setting, from the outermost.
        owner: the class whose setting it is, as a dotted path; empty at the top.
        option: a name that the owner has no setting of.
        value: as it was given.
        is_class: whether a class, or settings, should stand there.
        kinds: values that could stand there instead.
        others: all else that is said.
    """

    place: list[str] = field(default_factory=list)
    owner: str = ""
    option: str = ""
    value: str = ""
    is_class: bool = False
    kinds: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    _types: str = ""
    _closed: bool = False

    @classmethod
    def read(cls, text: str) -> Complaint:
        """Read the parser's words."""
        found = cls()
        for line in text.splitlines():
            found._add(line.strip().removeprefix("- "))
        return found

    def _add(self, said: str) -> None:
        if _NOISE.match(said):
            return
        if key := re.fullmatch(r'Parser key "(.+)":', said):
            self.place.append(key[1])
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
        elif value := re.fullmatch(r"Not a valid subclass of \w+(?:\. Got value: (.*))?", said):
            self._expect(_SETTINGS, value[1])
        elif value := re.fullmatch(r"Expected an? (.+?)(?:\. Got value: (.*))?", said):
            self._expect(_described(value[1]), value[2])
        elif value := re.match(r"Given value: (.*)", said):
            self._expect(None, value[1])
        else:
            self.others.append(re.sub(r"^Not of type \w+: ", "", said))

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

    def told(self) -> UserError:
        """The same in one line."""
        where = ".".join(self.place)
        prefix = f"{where}: " * bool(where)
        if self.option:
            return UserError(f"{prefix}{unknown('setting', self.option, _settings(self.owner))}")
        if self.others:
            return UserError(prefix + " ".join(self.others))
        return UserError(f"{where} {self.value} cannot be used: use {', or '.join(self.kinds)}")


def _described(kind: str) -> str:
    kind = re.sub(r"^<class '(.+)'>$", r"\1", kind)
    if choices := re.fullmatch(r"typing\.Literal\[(.+)\]", kind):
        return " or ".join(choices[1].split(", "))
    return _KINDS.get(kind, kind)


def _settings(owner: str) -> list[str]:
    """The names of a class's settings, none where it cannot be imported."""
    found = _class(owner)
    return [name for name in inspect.signature(found).parameters if name != "self"] if found else []


def _class(path: str) -> type | None:
    try:
        found = locate(path)
    except ErrorDuringImport:
        return None
    return found if isinstance(found, type) else None
