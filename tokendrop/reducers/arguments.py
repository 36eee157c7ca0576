"""Constructor arguments of reducers as plain data, by which a saved model describes them."""

from __future__ import annotations

from functools import cache
from typing import Any, get_type_hints

import numpy as np

from tokendrop.errors import UserError


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Types of the constructor's arguments; any value will do where somebody's cannot be found."""
    try:
        return get_type_hints(kind.__init__, include_extras=True)
    except NameError:
        return {}


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
