"""A reducer's arguments in a comparison's file, as the parser hands them on."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace
from jsonargparse.typing import register_type


class Arguments(UserDict[str, Any]):
    """A reducer's arguments as the parser hands them on: untouched.

    They may describe reducers inside a chain. Of a dictionary's values the parser makes objects
    where it can, before :func:`tokendrop.reducers.from_spec` sees them; a type of its own keeps it
    from that.
    """


def _arguments(given: Any) -> Arguments:
    if not isinstance(given, Mapping):
        raise ValueError(f"{given} are no arguments: give them by their names")
    return Arguments(given)


register_type(Arguments, dict, _arguments)


def unwrapped(value: Any) -> Any:
    """Settings as nested dictionaries and lists."""
    if isinstance(value, Namespace):
        return unwrapped(vars(value))
    if isinstance(value, Mapping):
        return {name: unwrapped(item) for name, item in value.items()}
    return [unwrapped(item) for item in value] if isinstance(value, list) else value
