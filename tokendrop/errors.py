"""The one exception that means: what was asked for cannot be done, and here is the cure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in the input. The command line prints its one line and exits with code 2."""


class Diverged(UserError):
    """A training's numbers are no longer numbers: these settings cannot be trained, others may."""


class InUse(UserError):
    """Another process is at it: what was asked for can be done when that has ended."""


def nearest(name: str, choices: Sequence[str], cutoff: float = 0.75) -> str | None:
    """The choice that a misspelt name may mean, None if it is like none of them.

    Args:
        name: as it was written.
        choices: what there is.
        cutoff: how alike they must be, of 1.
    """
    return next(iter(get_close_matches(name, choices, n=1, cutoff=cutoff)), None)


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error for a name that is not among ``known``, suggesting the nearest."""
    choices = sorted(known)
    near = nearest(name, choices, cutoff=0.4)
    hint = f"did you mean {near!r}? " if near else ""
    listed = ", ".join(map(_visible, choices))
    return UserError(f"unknown {kind} {name!r}: {hint}choose from {listed}")


def _visible(name: str) -> str:
    """A name as it stands, or in quotes where a part of it cannot be seen: a mark, a blank."""
    return name if name and name.isprintable() and name == name.strip() else repr(name)


def shown(value: object) -> str:
    """A value in a message, or what kind it is of where it would fill the line."""
    return repr(value) if len(repr(value)) <= 60 else f"a {type(value).__name__}"


def brief(value: object) -> str:
    """The beginning of a value in a message, on one line."""
    return " ".join(repr(value).split())[:60]


def no_settings(name: str) -> UserError:
    """An error for a group of settings that is null, a number, a text or a list."""
    return UserError(f"{name} must be settings by their names: name what it sets, or leave it out")


def mistake_behind(error: BaseException) -> UserError | None:
    """The mistake in the input that another library's error came from, if it did."""
    at: BaseException | None = error
    while at is not None and not isinstance(at, UserError):
        at = at.__cause__
    return at


@contextmanager
def tokenizer_panics() -> Iterator[None]:
    """Let an error of the tokenizers library be a mistake in the input.

    A panic of it is no Exception, and its other errors are of that class itself.
    """
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise UserError(
            f"the tokenizer cannot be used ({one_line(error)}): its tokenizer.json is damaged; "
            "restore it, or name another model"
        ) from error


def one_line(error: BaseException) -> str:
    """The message of another library's error on one line; a KeyError's is nothing but the key."""
    said = f"there is no {error}" if isinstance(error, KeyError) else str(error)
    return " ".join(said.split())
