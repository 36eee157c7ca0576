"""Names that every reducer uses itself, so that somebody's class can give them to nothing else."""

from __future__ import annotations

from typing import Any

from torch import nn

from tokendrop.errors import UserError, shown, unknown

_OF_MOMENTS = ("before_", "after_")


def check_methods(kind: type, base: type) -> None:
    """Raise for a class with a value in the place of a method, or a moment that never comes.

    The first is a list of ``stages``, for instance, and the second ``before_layers``.

    Args:
        kind: the class.
        base: :class:`tokendrop.reducers.base.Reducer`.

    Raises:
        UserError: the first such name.
    """
    for name, method in vars(base).items():
        if callable(method) and not callable(value := getattr(kind, name)):
            raise UserError(
                f"{kind.__name__}.{name} is {shown(value)}, but every reducer has a method of "
                "that name: write a method that returns it, or call it otherwise"
            )
    moments = [name for name in vars(base) if name.startswith(_OF_MOMENTS)]
    for name in dir(kind):
        if name.startswith(_OF_MOMENTS) and name not in moments:
            raise unknown(f"moment of {kind.__name__}", name, moments)


def check_attribute(kind: type, base: type, name: str, value: Any) -> None:
    """Raise for an attribute that would be found where a reducer's own thing is meant.

    Args:
        kind: the reducer's class.
        base: :class:`tokendrop.reducers.base.Reducer`.
        name: of the attribute.
        value: that it is to have.

    Raises:
        UserError: it is the name of a method, or of what a reducer remembers about itself.
    """
    are_weights = isinstance(value, nn.Module | nn.Parameter)
    if are_weights and callable(getattr(kind, name, None)):
        raise UserError(
            f"{kind.__name__}.{name} cannot be weights, because every reducer has a method of that "
            "name: call them otherwise"
        )
    # a function may take the place of one, and PyTorch has many names that nobody here asks for
    is_method = callable(vars(base).get(name)) and not callable(value)
    # Module.train writes training
    is_state = name == "arguments" or (name == "training" and not isinstance(value, bool))
    if is_method or is_state:
        what = "a method" if is_method else "something else"
        raise UserError(
            f"{kind.__name__}.{name} cannot be {shown(value)}, because every reducer has {what} "
            "of that name: call it otherwise"
        )
