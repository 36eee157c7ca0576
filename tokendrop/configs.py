"""Finding and reading the YAML files under ``configs/``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tokendrop.errors import UserError, one_line, unknown

# in an installed package the folder lies inside it, in a source tree beside it
SUFFIXES = (".yaml", ".yml")
_PLACES = (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs")


class _Loader(yaml.SafeLoader):
    """Reads 1e-5 as a number, as the options' parser does, for which YAML 1.1 wants 1.0e-5; and
    takes a name that stands twice for the mistake that it is, for of the two one would be lost.
    Settings that are a part of themselves, by an alias inside its anchor, have no end.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()  # type: ignore[no-untyped-call]
            node = self.anchors.get(alias.anchor)
            # a list or mapping that is still being read has no end yet
            if isinstance(node, yaml.CollectionNode) and node.end_mark is None:
                said = f"*{alias.anchor} stands inside of &{alias.anchor}, which it repeats"
                raise yaml.composer.ComposerError(None, None, said, alias.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, (key, _) in enumerate(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value in names[:place]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} stands here twice", key.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+"),
    list("-+.0123456789"),
)


def as_in_a_file(value: Any) -> Any:
    """A setting as a file of settings has it: a path of ``pathlib``, or one inside, by its name."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value) is list:
        return [as_in_a_file(one) for one in value]
    if type(value) is dict:
        return {name: as_in_a_file(one) for name, one in value.items()}
    return value


def config_folder() -> Path:
    """The folder of the configurations that come with the package."""
    return next(place for place in _PLACES if place.is_dir())


def find_config(kind: str, name: str, others: Iterable[str] = ()) -> Path:
    """A configuration by path, or by the name of a file that comes with the package.

    Args:
        kind: sub-folder, e.g. "task" or "compare".
        name: a path ending in .yaml, or a file name without it.
        others: names that would have been right as well, for the complaint.

    Raises:
        UserError: there is no such file.
    """
    if name.endswith(SUFFIXES):
        if not Path(name).is_file():
            raise UserError(f"no configuration file {name}: {cure_of_path(name)}")
        return Path(name)
    known = {file.stem: file for file in (config_folder() / kind).glob("*.yaml")}
    if name not in known:
        raise unknown(kind, name, {*known, *others})
    return known[name]


def cure_of_path(given: str) -> str:
    """What helps where no file of settings has the path that was given.

    The pages name files as a checkout has them; elsewhere the same files lie in the package.
    """
    own = config_folder().parent / given
    if Path(given).parts[:1] == (config_folder().name,) and own.is_file():
        return f"outside a checkout it is {own}"
    return "check the path"


def find_configs(kind: str, names: Sequence[str]) -> list[Path]:
    """Configurations that are told apart by their files' names, without folder and suffix.

    Raises:
        UserError: there is no such file, or two are called the same.
    """
    found: dict[str, Path] = {}
    for name in names:
        path = find_config(kind, name)
        if path.stem in found:
            raise UserError(
                f"{found[path.stem]} and {path} are both called {path.stem!r} in tables and "
                "folders: name each once, and give the files different names"
            )
        found[path.stem] = path
    return list(found.values())


def set_for(name: str, by_name: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is set for a configuration, under its name or under its path; later ones override."""
    found: dict[str, Any] = {}
    for given, settings in by_name.items():
        path = Path(given)
        if name == (path.stem if path.suffix in SUFFIXES else given):
            found |= settings
    return found


def read_value(text: str) -> Any:
    """A value as it stands in a YAML file.

    Raises:
        UserError: it is no YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{text!r:.60} cannot be read as a value: {one_line(error)}") from error


def read_config(path: Path) -> dict[str, Any]:
    """A YAML file as a dictionary.

    Raises:
        UserError: it is not one.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    # RecursionError: lists inside lists inside lists
    except (OSError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold settings as 'name: value' lines")
    return content


def differences(before: Any, now: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The settings that have changed: dotted name, value before and value now, as a file has them.

    On the first level only names are looked at that there are now.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        names = now if not place else sorted(before.keys() | now.keys())
        for name in names:
            inner = f"{place}.{name}".lstrip(".")
            yield from differences(before.get(name, "unset"), now.get(name, "unset"), inner)
    elif before != now:
        yield place, _written(before), _written(now)


def _written(value: Any) -> Any:
    """null, true and false, which nobody writes as None, True and False into a file."""
    return json.dumps(value) if value is None or isinstance(value, bool) else value
