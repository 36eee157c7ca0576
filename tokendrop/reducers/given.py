"""What the functions of a method give, of somebody's own too, if it can be used."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any, get_args

from torch import Tensor, nn

from tokendrop.bounds import NonNegative, check
from tokendrop.engine.probabilities import Received
from tokendrop.engine.trace import Trace
from tokendrop.errors import UserError, shown
from tokendrop.reducers.arguments import described
from tokendrop.reducers.base import Group, Reducer, Shape, Stage, Step, View
from tokendrop.reducers.training import checked_terms

_RATE = NonNegative | None
# what a comparison says of a run beside what its method says of itself
_OF_RECORDS = {"caveat", "engine", "model", "reducer", "reference", "search", "tuning"}


def received_of(reducer: Reducer, view: View) -> Received | None:
    """The received attention that a method reads in a layer.

    Raises:
        UserError: there is no such kind.
    """
    found = reducer.wants_received(view)
    if found is not None and found not in get_args(Received):
        kinds = " or ".join(map(repr, get_args(Received)))
        raise UserError(
            f"{_source(reducer, 'received')} is {found!r} in layer {view.layer}: use {kinds}, or "
            "None for none"
        )
    return found


def stages_of(reducer: Reducer) -> list[Stage]:
    """A method's recipe.

    Raises:
        UserError: it is no list of stages.
    """
    found: object = reducer.stages()
    if not isinstance(found, list | tuple) or not all(isinstance(one, Stage) for one in found):
        source = _source(reducer, "stages")
        raise UserError(f"{source} gave {shown(found)}: give a list of Stage, [] for no training")
    return list(found)


def groups_of(reducer: Reducer, stage: Stage, backbone: nn.Module) -> list[Group]:
    """The parameters that a stage of a method trains.

    Raises:
        UserError: they are no list of groups, a group has no parameters by name or a learning rate
            that is none or ignores no set of terms, or two groups have the same parameter, which
            both would move.
    """
    found: Any = reducer.groups(stage, backbone)
    source = _source(reducer, "groups")
    listed = isinstance(found, list | tuple) and all(isinstance(one, Group) for one in found)
    if not listed or not found:
        raise UserError(f"{source} gave {shown(found)}: give a list of Group, at least one")
    groups: list[Group] = list(found)
    owners: dict[int, Group] = {}
    for group in groups:
        named = group.parameters
        if not isinstance(named, Mapping) or not all(map(_is_parameter, named.values())):
            raise UserError(
                f"{source} gave the group {group.name!r} a {type(named).__name__} of parameters: "
                "give nn.Parameter by name, as dict(self.named_parameters())"
            )
        if not isinstance(group.ignores, frozenset):
            raise UserError(
                f"{source} gave the group {group.name!r} ignores {shown(group.ignores)}: give a "
                "frozenset of names of loss terms"
            )
        rate = {"learning_rate": group.learning_rate}
        check(rate, {"learning_rate": _RATE}, f"{source}, {group.name}.")
        for name, parameter in named.items():
            if (other := owners.setdefault(id(parameter), group)) is not group:
                raise UserError(
                    f"{source} gave {name} to the groups {other.name!r} and {group.name!r}: leave "
                    "it in one of them"
                )
    return groups


def passes_of(reducer: Reducer, step: Step) -> Iterator[dict[str, Tensor]]:
    """The loss terms of each forward pass of a training step.

    Raises:
        UserError: there are none, or they cannot be added up.
    """
    source, lacking = _source(reducer, "training_passes"), True
    for given in reducer.training_passes(step) or ():
        terms = checked_terms(given, source)
        lacking = not terms
        if lacking:
            break
        yield terms
    if lacking:
        raise UserError(f"{source} gave no loss: yield the terms of each pass by their names")


def score_of(reducer: Reducer, metric: float, metrics: Mapping[str, float]) -> float:
    """What an epoch is worth to a method.

    Raises:
        UserError: it is no number.
    """
    found: Any = reducer.score(metric, metrics)
    try:
        value = float(found)
    except (TypeError, ValueError, RuntimeError):
        value = math.nan
    if math.isnan(value):  # which is not larger than any other: the first epoch would stay the best
        raise UserError(
            f"{_source(reducer, 'score')} gave {shown(found)}: give a number, larger for a better "
            "epoch"
        )
    return value


def description_of(reducer: Reducer) -> dict[str, Any]:
    """What a method says that it learned; None in the place of a number that is not finite.

    Raises:
        UserError: no record can hold it, or it takes a name that a record has for something else.
    """
    found: object = reducer.describe()
    source = _source(reducer, "describe")
    if not isinstance(found, dict):
        raise UserError(f"{source} gave {shown(found)}: give plain data by names, {{}} for none")
    if taken := sorted(_OF_RECORDS & found.keys()):
        raise UserError(
            f"{source} gave {taken[0]!r}, by which a comparison's record tells something else: "
            "give it another name"
        )
    plain = {name: described(value, f"{source}: {name}", False) for name, value in found.items()}
    return {name: _finite(value) for name, value in plain.items()}


def _finite(value: Any) -> Any:
    """The same with None for NaN and infinities, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def flops_of(reducer: Reducer, trace: Trace, shape: Shape) -> int:
    """FLOPs of a method's own operators in a pass.

    Raises:
        UserError: it counts them in something else than whole numbers.
    """
    found: object = reducer.flops(trace, shape)
    if not isinstance(found, Integral):
        raise UserError(
            f"{_source(reducer, 'flops')} gave {found!r}: FLOPs are a whole number, so give an int "
            "(divide with //)"
        )
    return int(found)


def _source(reducer: Reducer, function: str) -> str:
    return f"{type(reducer).__name__}.{function}"


def _is_parameter(value: object) -> bool:
    return isinstance(value, nn.Parameter)
