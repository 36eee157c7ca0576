"""What every method must fulfil with every family of backbones, on tiny random models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import nn
from transformers import PreTrainedModel

from tokendrop.testing import checks, invariants
from tokendrop.testing.checks import NEVER, Make, Pair
from tokendrop.testing.tiny import FAMILY_NAMES, tiny_model

Check = Callable[[Make, PreTrainedModel], None]

# of a reducer through which every token passes, of any, and of one that drops something
WHOLE: list[Check] = [checks.states, checks.whole_trace, checks.rounding, checks.half_rounding]
EVERY: list[Check] = [
    invariants.every_row_is_answered,
    invariants.batch_invariance,
    invariants.trace_shrinks,
    invariants.trace_is_what_ran,
    invariants.dropout,
    invariants.shown_is_left_alone,
    invariants.saved_and_loaded,
    invariants.chained,
    invariants.flops,
]
DROPPING: list[Check] = [checks.something_is_dropped, checks.bf16, checks.half_weights]


def check_reducer(
    *,
    keeps_all: Make | None = None,
    own_head: Make | None = None,
    drops: Mapping[str, Make] | None = None,
    soft_equals_hard: Pair | None = None,
    no_gradient: str = NEVER,
    families: Sequence[str] = FAMILY_NAMES,
    device: str = "cpu",
) -> None:
    """Hold a reducer against the whole contract, on a tiny random model of each family.

    The models have 3 layers and a hidden size of 32, the rows 1 to 32 tokens. Every call of a
    function given here makes a new reducer, of a class that can be imported by its name.

    Args:
        keeps_all: makes a reducer that drops nothing and answers with the backbone's own head.
        own_head: for a method that never does that, instead: makes one that runs every token to
            the last layer.
        drops: functions that make reducers which drop tokens or retire rows, by a name of yours.
        soft_equals_hard: for a method with a soft removal: makes two built reducers, one whose soft
            pass is saturated and one that really removes, which must agree.
        no_gradient: a pattern of the names of parameters whose gradient is 0 in exact arithmetic,
            e.g. of a bias in front of a softmax.
        families: the backbones, all that are supported by default.
        device: where everything runs, e.g. "cuda".

    Raises:
        AssertionError: what is violated, by which reducer, on which family.
        TypeError: neither or both of ``keeps_all`` and ``own_head`` are given, or something else
            than functions by name, or than a list of families.
    """
    whole = keeps_all or own_head
    if whole is None or (keeps_all and own_head):
        raise TypeError("give check_reducer either keeps_all or own_head")
    if not isinstance(drops or {}, Mapping) or isinstance(families, str) or not families:
        raise TypeError("give check_reducer drops by names of yours, and a list of families")
    name = "keeps_all" if keeps_all else "own_head"
    dropping = {f"drops[{key!r}]": make for key, make in (drops or {}).items()}
    for who, make in {name: whole, **dropping}.items():
        if isinstance(make, nn.Module) or not callable(make):
            raise TypeError(f"{who} is a {type(make).__name__}: give a function that makes one")
    plan: list[tuple[str, Make, Check]] = [(name, whole, check) for check in WHOLE]
    if keeps_all:
        plan.insert(0, (name, keeps_all, checks.logits))
    plan.append((name, whole, partial(checks.parameters_learn, no_gradient=no_gradient)))
    plan += [(who, make, c) for who, make in {name: whole, **dropping}.items() for c in EVERY]
    plan += [(who, make, check) for who, make in dropping.items() for check in DROPPING]
    for family in families:
        model = tiny_model(family)
        nn.Module.to(model, device)
        for who, make, check in plan:
            _held(f"{who} on {family}", partial(check, make, model))
        if soft_equals_hard:
            pair = partial(checks.soft_is_hard, soft_equals_hard, model)
            _held(f"soft_equals_hard on {family}", pair)


def _held(who: str, check: Callable[[], None]) -> None:
    try:
        check()
    except AssertionError as error:
        raise AssertionError(f"{who}: {error}") from error
    except Exception as error:
        raise AssertionError(f"{who}: {type(error).__name__}: {error}") from error
