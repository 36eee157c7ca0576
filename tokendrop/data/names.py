"""Names of classes: a model's in the order of its logits, and which of the data's each one is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokendrop.errors import UserError

SHOWN = 20  # names that a message lists
DECIMAL = re.compile(r"[+-]?\d+\.?\d*")


def names_by_id(config: Any) -> list[str]:
    """A model's class names in the order of their ids, which is that of its logits."""
    # in a file the ids are texts, and sorted as texts: 0, 1, 10, 11, 2
    named = {int(key): str(name) for key, name in (config.id2label or {}).items()}
    return [named[key] for key in sorted(named)]


def repeated(names: Sequence[str]) -> str | None:
    """The first name that occurs twice, None if there is none."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def placeholders(names: Sequence[str]) -> bool:
    """Whether these are the names that Hugging Face makes up for classes without any."""
    return list(names) == [f"LABEL_{number}" for number in range(len(names))]


def whole(name: str) -> str:
    """A whole number without the decimals that a reader added."""
    return re.sub(r"\.0*$", "", name) if DECIMAL.fullmatch(name) else name


def not_one_word(names: Iterable[str]) -> str | None:
    """The first name that is blank or has white space in it, None if there is none."""
    return next((name for name in names if len(name.split()) != 1), None)


def mapped(data: Sequence[str], label_map: Mapping[Any, str], place: str) -> dict[str, str]:
    """The model's name of each of the data's classes.

    Args:
        data: the data's class names; those that the map leaves out stay as they are.
        label_map: model's names by the data's, see :class:`tokendrop.data.TextData`.
        place: how the message calls the data.

    Raises:
        UserError: the map names a class that the data do not have, or makes one of two.
    """
    given = {str(name): other for name, other in label_map.items()}
    for name in given:
        if name not in data:
            raise UserError(
                f"label_map has the name {name!r}, but the classes of {place} are {listed(data)}: "
                "use their names"
            )
    names = {name: given.get(name, name) for name in data}
    if twice := repeated(list(names.values())):
        those = " and ".join(repr(name) for name, other in names.items() if other == twice)
        raise UserError(
            f"label_map gives the name {twice!r} to the classes {those} of {place}: give each a "
            "name of its own"
        )
    return names


def matched(model: Sequence[str], data: Sequence[str], place: str) -> list[str]:
    """The data's class names in the order of a model's: the same names, or the same numbers.

    Args:
        model: its class names in the order of its logits.
        data: names of the same classes in any order; or numbers from 0, where the model has names;
            or names in the order of their classes, where the model has LABEL_0, LABEL_1, ...
        place: how the message calls the model.

    Raises:
        UserError: the classes are others.
    """
    if set(model) == set(data):
        return list(model)
    # 1.0 is 1
    spelt = {whole(name): name for name in data}
    for order in (list(map(whole, model)), _numbers(model)):
        if len(order) == len(data) and set(order) == set(spelt):
            return [spelt[name] for name in order]
    if placeholders(model) and len(model) == len(data):
        return list(data)
    unknown = [name for name in data if name not in model]
    lacking = [name for name in model if name not in data]
    example = f"the model has no {unknown[0]!r}" if unknown else f"the data has no {lacking[0]!r}"
    cure = (
        ""
        if len(model) != len(data)
        else ("say which is which with data.label_map, {data's name: model's name}, or ")
    )
    raise UserError(
        f"the checkpoint {place} has a head for {counted(model)} but the data has "
        f"{len(data)} ({listed(data)}): {example}; {cure}name a checkpoint for this task or its "
        "pretrained backbone"
    )


def in_data(model: Sequence[str], seen: Sequence[str], label_map: Mapping[Any, str]) -> list[str]:
    """What data call each of a model's classes, though their rows may lack some of these.

    Args:
        model: its class names in the order of its logits.
        seen: the class names of the rows; what is none of the model's is not in the answer.
        label_map: as for :func:`mapped`.
    """
    by_model = {other: str(name) for name, other in label_map.items()}
    spelt = {whole(name): name for name in seen}
    if not label_map and placeholders(model) and len(model) == len(seen):
        return list(seen)
    own = [by_model.get(name, spelt.get(whole(name), name)) for name in model]
    if not label_map and not set(seen) <= set(own) and set(spelt) <= set(_numbers(model)):
        return [spelt.get(number, number) for number in _numbers(model)]
    return own


def _numbers(names: Sequence[str]) -> list[str]:
    return [str(number) for number in range(len(names))]


def pairs(model: Sequence[str], data: Sequence[str]) -> str:
    """Which class of a model is which of the data's, both in one order."""
    return listed(f"{one} is {other}" for one, other in zip(model, data, strict=True))


def counted(names: Sequence[str]) -> str:
    """How many classes there are, and which."""
    return f"{len(names)} class{'es' * (len(names) != 1)} ({listed(names)})"


def listed(names: Iterable[str]) -> str:
    """The names with commas between them, of many only the first."""
    every = list(names)
    return ", ".join(every[:SHOWN]) + ", ..." * (len(every) > SHOWN)
