"""The methods, one file each. A new file in this folder is found by itself."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from tokendrop.errors import UserError, one_line, unknown
from tokendrop.reducers.base import Reducer

REDUCERS: dict[str, type[Reducer]] = {}

for _module in pkgutil.iter_modules(__path__):
    for _value in vars(importlib.import_module(f"{__name__}.{_module.name}")).values():
        if isinstance(_value, type) and issubclass(_value, Reducer) and _value is not Reducer:
            REDUCERS[_value.__name__] = _value


def from_spec(spec: dict[str, Any]) -> Reducer:
    """Make a reducer from its class and arguments.

    Args:
        spec: ``class_path``, the name of a class in this package or a dotted path to anyone's
            own, and optionally ``init_args``.

    Raises:
        UserError: no such class, or arguments it does not take.
    """
    name = str(spec.get("class_path"))
    if "." not in name and name not in REDUCERS:
        raise unknown("reducer", name, REDUCERS)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--reducer", type=Reducer)
    try:
        # the parser replaces what it has parsed inside lists, so it gets its own copy
        parsed = parser.parse_object({"reducer": copy.deepcopy(spec)})
        return parser.instantiate(parsed).reducer
    except ArgumentError as error:
        raise UserError(f"reducer {name}: {one_line(error)}") from error
