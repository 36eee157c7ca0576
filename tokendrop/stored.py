"""What lies in folders, our own or a stranger's, read as data of a known form.

Nothing that such a file says is imported, made or run: it is parsed, and held against the types of
a dataclass or of an annotation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import AfterValidator, TypeAdapter, ValidationError

from tokendrop.errors import UserError, one_line

T = TypeVar("T")


def read_json(
    path: Path,
    kind: Callable[..., T],
    what: str,
    cure: str,
    others: Literal["forbid", "ignore"] = "forbid",
) -> T:
    """A JSON file as data of a type; numbers are not made of texts, nor one type of another.

    Args:
        path: the file.
        kind: a dataclass, or a plain type such as ``dict[str, float]``.
        what: the file should be, e.g. "a whole run record".
        cure: what to do if it is not.
        others: what becomes of entries that the dataclass has no field for.

    Raises:
        UserError: it cannot be read, is torn, or is something else.
    """
    try:
        return parsed(path.read_bytes(), kind, others)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): {cure}") from error
    except ValidationError as error:
        torn = error.errors()[0]["type"] == "json_invalid"
        why = ", it is torn or not JSON" * torn + f" ({first_problem(error)})"
        raise UserError(f"{path} is not {what}{why}: {cure}") from error


def parsed(
    text: str | bytes, kind: Callable[..., T], others: Literal["forbid", "ignore"] = "forbid"
) -> T:
    """JSON as data of a type, see :func:`read_json`.

    Raises:
        ValidationError: it is not.
    """
    return _adapter(kind).validate_json(text, strict=True, extra=others)


def plain(value: Any, kind: Any, others: Literal["forbid", "ignore"] = "forbid") -> Any:
    """A plain value as one of a type, by the rules of :func:`read_json`.

    Raises:
        ValidationError: it is none.
        TypeError: it is not plain: something else than numbers, texts, lists and dictionaries.
    """
    return parsed(json.dumps(value), kind, others)


def outlined(kind: Any) -> AfterValidator:
    """Of an annotation: its plain value has at least the outline of a type, and stays what it is.

    Args:
        kind: a type, as for :func:`read_json`; entries that it has no field for may be there too.
    """

    def held(value: Any) -> Any:
        try:
            plain(value, kind, "ignore")
        except ValidationError as error:
            raise ValueError(first_problem(error)) from error
        return value

    return AfterValidator(held)


def first_problem(error: ValidationError) -> str:
    """Where and what the first fault is, on one line."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    said = problem["msg"].removeprefix("Value error, ")
    return one_line(ValueError(f"{place}: {said}".removeprefix(": ")))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
