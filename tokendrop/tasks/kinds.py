"""The kinds of task that are known, by name."""

from __future__ import annotations

from transformers import PreTrainedModel

from tokendrop.errors import UserError, unknown
from tokendrop.heads import head_of
from tokendrop.tasks.base import Task

# what the evaluation of a split says beside its metrics
_LOGGED = {"flops_speedup", "kept_tokens", "layers", "loss", "score"}
KINDS: dict[str, type[Task]] = {}


def add_kind(kind: type[Task]) -> type[Task]:
    """Make a kind of task known by its name, for data, models and records; a class decorator.

    Raises:
        UserError: something that every kind has is missing, or another class has the name, as one
            has that it was inherited from; metrics, texts or counts that are no tuple, or a metric
            by whose name an evaluation tells something else.
    """
    needed = ("kind", "head", "metrics")
    lacking = [name for name in needed if not hasattr(kind, name)]
    if lacking := lacking + sorted(kind.__abstractmethods__):
        raise UserError(
            f"{kind.__name__} has no {', '.join(lacking)}, which every kind of task needs: add "
            "what tokendrop.tasks.Task says of it"
        )
    for name, each in {"metrics": str, "text": str, "counts": int}.items():
        held = getattr(kind, name)
        # brackets around one value alone are no tuple
        if not isinstance(held, list | tuple) or not {type(one) for one in held} == {each}:
            raise UserError(
                f"{kind.__name__}.{name} is {held!r}: use a tuple of {each.__name__}, with a comma "
                "behind a single one"
            )
    if taken := sorted(_LOGGED & set(kind.metrics)):
        raise UserError(
            f"{kind.__name__} has a metric {taken[0]!r}, by which every evaluation tells something "
            "else: give it another name"
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
