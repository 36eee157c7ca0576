"""Constructor arguments of reducers as plain data, by which a saved model describes them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence, Set
from functools import cache
from typing import Any, get_type_hints

import numpy as np

from tokendrop.bounds import check
from tokendrop.errors import UserError, one_line


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Types of the constructor's arguments; any value will do where somebody's cannot be found."""
    try:
        return get_type_hints(kind.__init__, include_extras=True)
    except NameError:
        return {}


def check_operating(kind: Any, defaults: Mapping[str, Any]) -> None:
    """Raise for the ``operating_arguments`` of a reducer's class that cannot be changed later.

    Raises:
        UserError: they are no set of its arguments' names, or one of them has no default, with
            which the training is made that all operating points share.
    """
    changed = kind.operating_arguments
    if not isinstance(changed, Set) or not changed <= defaults.keys():
        raise UserError(
            f"{kind.__name__}.operating_arguments is {changed!r}: use a set of names of its "
            f"arguments, which are {', '.join(sorted(defaults)) or 'none'}"
        )
    if lacking := sorted(n for n in changed if defaults[n] is inspect.Parameter.empty):
        raise UserError(
            f"{kind.__name__}.{lacking[0]} has no default, and operating_arguments names it: give "
            "it one, with which all its values share a training"
        )


def given_by_name(
    kind: Any, args: Sequence[Any], kwargs: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """What a reducer's constructor is given, checked, by the arguments' names.

    Raises:
        UserError: a name that is no argument's; a value that is none of its type, or out of the
            bounds beside it, or given by ``*`` or ``**``.
    """
    name = kind.__name__
    try:
        bound = inspect.signature(kind.__init__).bind_partial(None, *args, **kwargs)
    except TypeError as error:
        known = ", ".join(defaults) or "none"
        raise UserError(f"{name}: {one_line(error)}; its arguments: {known}") from error
    given = dict(list(bound.arguments.items())[1:])
    if lost := given.keys() - defaults.keys():
        raise UserError(
            f"{name} has no argument of its own for {given[lost.pop()]}, so a saved model would "
            "lose it: name each argument in __init__, without * and **"
        )
    check(given, hints_of(kind), f"{name}.")
    return given


def described(value: Any, place: str, trained: bool) -> Any:
    """A constructor argument as plain data; reducers inside it become specs.

    Args:
        value: as it was given.
        place: the class and the argument's name, for messages.
        trained: see :meth:`tokendrop.reducers.base.Reducer.spec`.

    Raises:
        UserError: something in it that no file of data holds, such as a function or a tensor.
    """
    if callable(spec := getattr(value, "spec", None)):
        return spec(trained=trained)
    if isinstance(value, list | tuple):
        return [described(item, place, trained) for item in value]
    if isinstance(value, dict):
        return {name: described(item, place, trained) for name, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    raise UserError(
        f"{place} is a {type(value).__name__}, which a saved model cannot describe: use numbers, "
        "texts, and lists or dictionaries of them, and make what is made of them in build"
    )
