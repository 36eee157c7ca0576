"""The code of somebody's own reducers: what is found again was made by what it was then."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokendrop.reducers.base import Reducer
from tokendrop.reducers.stored import BASELINES

_OURS = (Path(__file__).parents[1], BASELINES)  # changes of which are counted by ``recipe``


def code_of(reducer: Reducer) -> dict[str, str]:
    """A short name for the code of each class of somebody's own, by its dotted path.

    The parts of a chain and the classes that a class is derived from are among them. Comments and
    the layout of lines do not count; nor does what lies outside of the classes, or has no source.
    """
    kinds = {kind for part in reducer.modules() for kind in type(part).__mro__}
    own = (kind for kind in kinds if issubclass(kind, Reducer))
    return {path: code for kind in own for path, code in _named(kind)}


def changed_code(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The classes whose code is another now, sorted."""
    return sorted(path for path, code in before.items() if now.get(path, code) != code)


def _named(kind: type[Reducer]) -> Iterator[tuple[str, str]]:
    try:
        file = Path(inspect.getfile(kind)).resolve()
        if any(file.is_relative_to(folder) for folder in _OURS):
            return
        parsed = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):  # it was typed into an interpreter, for instance
        return
    code = hashlib.sha256(ast.unparse(parsed).encode()).hexdigest()[:12]
    yield f"{kind.__module__}.{kind.__qualname__}", code
