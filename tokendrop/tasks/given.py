"""What the functions of a kind of task give, of somebody's own too, if it can be used."""

from __future__ import annotations

from typing import Any, TypeVar

from tokendrop.data.rows import Rows
from tokendrop.data.split import Split
from tokendrop.errors import UserError, shown
from tokendrop.tasks.base import Task

T = TypeVar("T")


def rows_of(kind: type[Task], *given: Any) -> Rows:
    """The rows of a table, see :meth:`Task.read_rows`.

    Raises:
        UserError: they are none, or a row cannot be used.
    """
    return _held(kind.read_rows(*given), Rows, f"{kind.__name__}.read_rows")


def split_of(kind: type[Task], *given: Any) -> Split:
    """Tokenised rows, see :meth:`Task.tokenised`.

    Raises:
        UserError: they are none, or a row cannot be tokenised.
    """
    return _held(kind.tokenised(*given), Split, f"{kind.__name__}.tokenised")


def task_of(kind: type[Task], splits: Any, labels: list[str], *given: Any) -> Task:
    """The task that rows pose, see :meth:`Task.pose`.

    Raises:
        UserError: it is none, or its head has another number of outputs than names of them.
    """
    source = f"{kind.__name__}.pose"
    task = _held(kind.pose(splits, labels, *given), Task, source)  # type: ignore[type-abstract]
    names = kind.output_names(labels)
    if task.outputs != len(names):
        raise UserError(
            f"{kind.__name__}.outputs is {task.outputs}, but output_names gave the {len(names)} "
            f"names {shown(names)}: name each output"
        )
    return task


def _held(found: object, kind: type[T], source: str) -> T:
    if not isinstance(found, kind):
        raise UserError(f"{source} gave {shown(found)}: give a {kind.__name__}")
    return found
