"""Which values a setting may have, said beside its type and checked before anything is trained.

>>> check({"epochs": 0}, {"epochs": Count}, "fine_tune.")
Traceback (most recent call last):
tokendrop.errors.UserError: fine_tune.epochs 0 is too small: use a whole number, 1 or more
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import CoreSchema, core_schema

from tokendrop.errors import UserError


@dataclass(frozen=True)
class Bounds:
    """Of a number, which is finite in any case.

    Attributes:
        low: smallest value.
        high: largest value.
        above: what it is more than.
        below: what it is less than.
    """

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and self.low <= value <= self.high
            and self.above < value < self.below
        )

    def __repr__(self) -> str:
        parts = {
            f"{self.low} or more": self.low > -math.inf,
            f"more than {self.above}": self.above > -math.inf,
            f"at most {self.high}": self.high < math.inf,
            f"less than {self.below}": self.below < math.inf,
        }
        return " and ".join(part for part, is_said in parts.items() if is_said) or "finite"

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def checked(value: float) -> float:
            if value not in self:
                raise ValueError(f"use {self!r}")
            return value

        return core_schema.no_info_after_validator_function(checked, handler(kind))


Count = Annotated[int, Bounds(low=1)]
Natural = Annotated[int, Bounds(low=0)]
Seed = Annotated[int, Bounds(low=0, high=2**32 - 1)]
Finite = Annotated[float, Bounds()]
NonNegative = Annotated[float, Bounds(low=0)]
Positive = Annotated[float, Bounds(above=0)]
Share = Annotated[float, Bounds(low=0, high=1)]
PositiveShare = Annotated[float, Bounds(above=0, high=1)]
ShareBelow1 = Annotated[float, Bounds(low=0, below=1)]

PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
"""What messages call values of Python's own types."""
_NAMES = PLAIN | {Any: "any value"}


def check(given: Mapping[str, Any], hints: Mapping[str, Any], place: str = "") -> None:
    """Raise for the first setting that is no value of its type, or out of its bounds.

    Args:
        given: values by name.
        hints: types by name, with :class:`Bounds`; a setting without one may have any value.
        place: what stands before a name in the message.

    Raises:
        UserError: its name and value, and which values there are.
    """
    for name, value in given.items():
        if name in hints and (wrong := _complaint(value, hints[name])):
            shown = " ".join(repr(value).split())
            shown = shown if len(shown) <= 60 else f"{shown:.57}..."
            raise UserError(f"{place}{name} {shown} {wrong}: use {_described(hints[name])}")


def check_fields(made: Any, place: str = "") -> None:
    """Check all fields of a dataclass, see :func:`check`.

    Raises:
        UserError: the first that has no value of its type.
    """
    kind: Any = type(made)
    check(vars(made), _fields(kind), place)


@cache
def _fields(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _complaint(value: Any, hint: Any) -> str:
    try:
        _adapter(hint).validate_python(_plain(value, hint), strict=True)
    except PydanticUserError:  # a type of somebody's that has no values to compare with
        return ""
    except ValidationError:
        whole = _takes(int, hint) and not _takes(float, hint)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not (_takes(float, hint) or (whole and isinstance(value, int))):
            return "cannot be used"
        return "is too small" if whole and value <= 0 else "is out of range"
    return ""


def _plain(value: Any, hint: Any) -> Any:
    """Numbers of numpy as Python's, and a tuple as the list that it stands for."""
    if isinstance(value, np.generic):
        return value.item()
    lists = any(get_origin(part) is list for part in (hint, *_parts(hint)))
    return list(value) if lists and isinstance(value, tuple) else value


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    if is_dataclass(hint):  # which has a configuration of its own
        return TypeAdapter(hint)
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def _takes(kind: type, hint: Any) -> bool:
    return hint is kind or any(_takes(kind, part) for part in _parts(hint))


def _parts(hint: Any) -> tuple[Any, ...]:
    """The types of which one is enough, of an annotated one the type itself."""
    if get_origin(hint) is Annotated:
        return get_args(hint)[:1]
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else ()


def _described(hint: Any) -> str:
    """In words, the values that there are."""
    if hint in _NAMES:
        return _NAMES[hint]
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        bounds = [repr(one) for one in arguments[1:] if isinstance(one, Bounds)]
        return ", ".join([_described(arguments[0]), *bounds])
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, arguments))
    if _parts(hint):
        return ", or ".join(
            "null" if part is type(None) else _described(part) for part in arguments
        )
    if get_origin(hint) in (list, tuple) and arguments:
        return f"a list, each {_described(arguments[0])}"
    if get_origin(hint) is dict:
        return f"names, each with {_described(arguments[1])}"
    return f"a {getattr(hint, '__name__', hint)}"
