"""The methods, one file each. A new file in this folder is found by itself."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from tokendrop.errors import UserError, one_line
from tokendrop.reducers.base import Reducer
from tokendrop.setting_errors import setting_error, unknown_reducer

REDUCERS: dict[str, type[Reducer]] = {}

for _module in pkgutil.iter_modules(__path__):
    for _value in vars(importlib.import_module(f"{__name__}.{_module.name}")).values():
        if isinstance(_value, type) and issubclass(_value, Reducer) and _value is not Reducer:
            REDUCERS[_value.__name__] = _value


def with_changes(spec: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A reducer's description with other arguments.

    Args:
        spec: see :func:`from_spec`.
        changes: values by argument; ``parts.1.tau`` is the argument ``tau`` of the second reducer
            in the list ``parts``.

    Raises:
        UserError: there is no such reducer in a list.
    """
    changed = copy.deepcopy(spec)
    for path, value in changes.items():
        place = changed.setdefault("init_args", {})
        *steps, last = path.split(".")
        for name, index in zip(steps[::2], steps[1::2], strict=False):
            inside = place.get(name)
            if not isinstance(inside, list) or not index.isdecimal() or int(index) >= len(inside):
                raise UserError(
                    f"{path}: {name} has no reducer {index} that could be changed; reducers in a "
                    "list count from 0"
                )
            place = inside[int(index)].setdefault("init_args", {})
        place[last] = value
    return changed


def from_spec(spec: dict[str, Any]) -> Reducer:
    """Make a reducer from its class and arguments.

    Args:
        spec: ``class_path``, the name of a class in this package or a dotted path to anyone's
            own, and optionally ``init_args``.

    Raises:
        UserError: no such class, or arguments that it does not take or cannot be made with.
    """
    name = str(spec.get("class_path"))
    if "." not in name and name not in REDUCERS:
        raise unknown_reducer(name, REDUCERS)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--reducer", type=Reducer)
    try:
        # the parser replaces what it has parsed inside lists, so it gets its own copy
        parsed = parser.parse_object({"reducer": copy.deepcopy(spec)})
        return parser.instantiate(parsed).reducer
    except ArgumentError as error:
        raise setting_error(error, REDUCERS) from error
    except ValueError as error:  # of its __init__
        raise UserError(f"{name} cannot be made: {one_line(error)}") from error


def measured_in_training(reducer: Reducer) -> bool:
    """Whether the numbers of a training's epochs are those of this reducer.

    Epochs are evaluated at the class's own operating point, if at any.
    """
    usual = from_spec(reducer.spec(trained=True))
    return not reducer.evaluated_apart and reducer.spec() == usual.spec()
