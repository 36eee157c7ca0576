"""The kinds of task that are known, by name."""

from __future__ import annotations

from transformers import PreTrainedModel

from tokendrop.errors import UserError, unknown
from tokendrop.heads import head_of
from tokendrop.tasks.base import Task

KINDS: dict[str, type[Task]] = {}


def add_kind(kind: type[Task]) -> type[Task]:
    """Make a kind of task known by its name, for data, models and records; a class decorator.

    Raises:
        UserError: something that every kind has is missing, or another class has the name, as one
            has that it was inherited from.
    """
    needed = ("kind", "head", "metrics")
    lacking = [name for name in needed if not hasattr(kind, name)]
    if lacking := lacking + sorted(kind.__abstractmethods__):
        raise UserError(
            f"{kind.__name__} has no {', '.join(lacking)}, which every kind of task needs: add "
            "what tokendrop.tasks.Task says of it"
        )
    known = KINDS.get(kind.kind, kind)
    # the same class defined again, as in a notebook, takes its own place
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise UserError(
            f"{kind.__name__} is called {kind.kind!r}, as the kind of task {known.__module__}."
            f"{known.__name__} is: give it a kind = '...' of its own"
        )
    KINDS[kind.kind] = kind
    return kind


def kind_named(name: str) -> type[Task]:
    """The kind of task of a name.

    Raises:
        UserError: there is none.
    """
    if name not in KINDS:
        raise UserError(
            f"{unknown('kind of task', name, KINDS)}; one of your own must be added first, with "
            "tokendrop.tasks.add_kind"
        )
    return KINDS[name]


def kind_of(model: PreTrainedModel) -> str:
    """What a model's head is for, if nobody says: the first kind with such a head."""
    head = head_of(model)
    return next(name for name, kind in KINDS.items() if kind.head == head)
