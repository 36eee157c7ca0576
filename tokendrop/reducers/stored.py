"""Reducers as folders describe them: data that can name no class but a known one.

A folder may come from a stranger, so its description is not read by the parser of configuration
files, which imports and calls whatever it is told to.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ValidationError
from pydantic.errors import PydanticUserError

from tokendrop.errors import UserError, one_line, unknown
from tokendrop.reducers import REDUCERS
from tokendrop.reducers.base import Reducer
from tokendrop.setting_errors import not_found, not_in_module
from tokendrop.stored import first_problem, plain

DEEPEST = 8  # chains inside chains
# beside this package, where it is installed too; another folder of that name may lie anywhere
BASELINES = Path(__file__).parents[2] / "baselines"


@dataclass(frozen=True)
class Description:
    """A reducer as plain data, as :meth:`tokendrop.reducers.base.Reducer.spec` gives it.

    Attributes:
        class_path: dotted path or, of this package's own, the name of its class.
        init_args: plain values by argument; a list of further descriptions in a chain.
    """

    class_path: str
    init_args: dict[str, Any] = field(default_factory=dict)


def stored_reducer(spec: Mapping[str, Any], trusted: bool = False) -> Reducer:
    """Make a reducer that a folder describes.

    Args:
        spec: see :class:`Description`.
        trusted: also import and call somebody else's class. Without it nothing is imported.

    Raises:
        UserError: another class than those of this package, something that is no reducer, or
            arguments that it does not take.
    """
    if not isinstance(trusted, bool):  # "no" and "false" are as true as any other text
        raise UserError(f"trust_reducer is {trusted!r}: use True or False")
    return _made(spec, trusted, "reducer", 0)


def _made(spec: Any, trusted: bool, place: str, depth: int) -> Reducer:
    if depth > DEEPEST:
        raise UserError(f"{place}: chains lie more than {DEEPEST} deep inside each other")
    try:
        described: Description = plain(spec, Description)
    except ValidationError as error:
        raise UserError(f"{place} is no description of one: {first_problem(error)}") from error
    kind = _class(described.class_path, trusted, place)
    hints = _hints(kind)
    arguments: dict[str, Any] = {}
    for name, value in described.init_args.items():
        if name not in kind.argument_defaults():
            raise unknown(f"argument of {kind.__name__}", name, kind.argument_defaults())
        if hints.get(name) == list[Reducer]:
            if not isinstance(value, list):
                raise UserError(f"{place}.{name} must be a list of reducers")
            arguments[name] = [
                _made(part, trusted, f"{place}.{name}.{index}", depth + 1)
                for index, part in enumerate(value)
            ]
        else:
            arguments[name] = _argument(kind, name, value, hints.get(name, Any))
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"{place}, {kind.__name__}: {one_line(error)}") from error


def to_be_trusted(spec: Mapping[str, Any]) -> list[str]:
    """Classes in a method's description, parts of a chain too, that are none of this package's."""
    path = str(spec["class_path"])
    found = [] if path in _known() else [path.rpartition(".")[2]]
    for value in spec.get("init_args", {}).values():
        for part in value if isinstance(value, list) else []:
            if isinstance(part, Mapping) and "class_path" in part:
                found += to_be_trusted(part)
    return found


def describes(spec: Any, reducer: Reducer) -> bool:
    """Whether a description means this reducer, defaults included; nothing is imported or made."""
    if not isinstance(spec, Mapping) or spec.get("class_path") not in _names(type(reducer)):
        return False
    given = spec.get("init_args", {})
    if not isinstance(given, dict):
        return False
    meant = type(reducer).argument_defaults() | given
    return meant.keys() == reducer.arguments.keys() and all(
        _equal(meant[name], value) for name, value in reducer.arguments.items()
    )


def _equal(given: Any, value: Any) -> bool:
    if isinstance(value, Reducer):
        return describes(given, value)
    if isinstance(value, list | tuple):
        return (
            isinstance(given, list | tuple)
            and len(given) == len(value)
            and all(map(_equal, given, value))
        )
    return bool(given == value)


def _hints(kind: type[Reducer]) -> dict[str, Any]:
    """Types of the constructor's arguments; any value will do where somebody's cannot be found."""
    try:
        return get_type_hints(kind.__init__)
    except NameError:
        return {}


def _argument(kind: type[Reducer], name: str, value: Any, hint: Any) -> Any:
    try:
        return plain(value, hint)
    except ValidationError as error:
        why = first_problem(error)
    except (TypeError, PydanticUserError) as error:
        why = one_line(error)
    raise UserError(f"{kind.__name__} cannot have {name} {value!r}: {why}")


def _class(path: str, trusted: bool, place: str) -> type[Reducer]:
    if path in _known():
        return _known()[path]
    if not trusted:
        if "." not in path:
            raise unknown("reducer", path, REDUCERS)
        raise UserError(
            f"{place} is {path!r}, which is none of this package's classes and was not imported; "
            "if you trust who wrote it, load the model with trust_reducer=True (--trust-reducer)"
        )
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError) as error:
        raise not_found(path, one_line(error)) from error
    if found is None and module == "__main__":
        raise UserError(
            f"{place} is {path!r}, a class of the script that trained it: in a script that has the "
            f"class, or imports {name} from a module of its own, load the model and save it again"
        )
    if found is None:
        raise not_in_module(path)
    if not (isinstance(found, type) and issubclass(found, Reducer)):
        raise UserError(f"{place} is {path!r}, which is no subclass of Reducer")
    return found


@cache
def _known() -> dict[str, type[Reducer]]:
    """The classes of this package and of its baselines, by every path that names them."""
    known = dict(REDUCERS) | {_path(kind): kind for kind in REDUCERS.values()}
    spec = importlib.util.find_spec("baselines")
    if spec and spec.origin and (BASELINES / "__init__.py").samefile(spec.origin):
        for name, kind in vars(importlib.import_module("baselines")).items():
            if isinstance(kind, type) and issubclass(kind, Reducer):
                known |= {f"baselines.{name}": kind, _path(kind): kind}
    return known


def _names(kind: type[Reducer]) -> set[str]:
    return {_path(kind)} | {name for name, known in _known().items() if known is kind}


def _path(kind: type[Reducer]) -> str:
    return f"{kind.__module__}.{kind.__name__}"
