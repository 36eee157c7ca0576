"""Several reducers in one model, e.g. a token reducer and an early exit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tokendrop.attention import Received
from tokendrop.errors import UserError
from tokendrop.packed import Batch
from tokendrop.reducers.base import Decision, Group, Reducer, Setting, Shape, Stage, Step, View
from tokendrop.trace import Encoded, Trace


class Chain(Reducer):
    """Ask several reducers at every moment and do what any of them wants.

    A token stays if all keep it, a row leaves if one lets it leave (the first one's answer counts),
    factors multiply and biases add up. The recipes follow each other in order; from its own stages
    on each part acts, and all losses count.
    """

    def __init__(self, parts: list[Reducer]) -> None:
        """
        Args:
            parts: the reducers, in the order in which they are trained.
        """
        super().__init__()
        self.parts = nn.ModuleList(parts)
        kinds = {part.received for part in parts} - {None}
        if len(kinds) > 1:
            raise UserError(
                "the parts of a chain rank tokens by different attention scores "
                f"({', '.join(sorted(map(str, kinds)))}): combine at most one such token reducer"
            )
        self.received = next(iter(kinds), None)  # so that a chain of chains sees a conflict too
        self.training_part = 0  # whose stage it is
        self.attention_dropout = all(part.attention_dropout for part in parts)

    @property
    def _reducers(self) -> list[Reducer]:
        return [part for part in self.parts if isinstance(part, Reducer)]

    def build(self, shape: Shape) -> None:
        for part in self._reducers:
            part.build(shape)

    def start(self, batch: Batch) -> list[Any]:
        return [part.start(batch) for part in self._reducers]

    def before_layer(self, view: View) -> Decision | None:
        return self._ask([part.before_layer for part in self._reducers], view)

    def after_attention(self, view: View) -> Decision | None:
        return self._ask([part.after_attention for part in self._reducers], view)

    def after_layer(self, view: View) -> Decision | None:
        return self._ask([part.after_layer for part in self._reducers], view)

    def wants_received(self, view: View) -> Received | None:
        wanted = [
            part.wants_received(own) for part, own in zip(self._reducers, _own(view), strict=True)
        ]
        return next((kind for kind in wanted if kind is not None), None)

    def _ask(self, moments: list[Callable[[View], Decision | None]], view: View) -> Decision:
        decision = Decision()
        for moment, own in zip(moments, _own(view), strict=True):
            if (more := moment(own)) is not None:
                decision = _merge(decision, more)
        return decision

    def losses(self, encoded: Encoded, but: int | None = None) -> dict[str, Tensor]:
        """The terms of all parts, or of all but one."""
        return {
            f"{name}_{index}": loss
            for index, part in enumerate(self._reducers)
            if index != but
            for name, loss in part.losses(_seen_by(index, encoded)).items()
        }

    def training_passes(self, step: Step) -> Iterator[dict[str, Tensor]]:
        """The passes of the part whose stage it is, with the losses of the others added."""
        owner = self._reducers[self.training_part]
        passed: list[Encoded] = []

        def forward() -> Encoded:
            passed.append(step.forward())
            return _seen_by(self.training_part, passed[-1])

        for losses in owner.training_passes(replace(step, forward=forward)):
            own = {_term(name, self.training_part): loss for name, loss in losses.items()}
            yield own | self.losses(passed[-1], but=self.training_part)

    def stages(self) -> list[Stage]:
        return [
            replace(stage, name=f"{index}_{stage.name}")
            for index, part in enumerate(self._reducers)
            for stage in part.stages()
        ]

    def enter(self, stage: Stage, setting: Setting) -> None:
        part, own = self._owner(stage)
        self.training_part = self._reducers.index(part)
        part.enter(own, setting)

    def leave(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        part, own = self._owner(stage)
        part.leave(own, metrics)

    def before_step(self, epoch: int) -> None:
        for part in self._reducers:
            part.before_step(epoch)

    def after_step(self, epoch: int) -> None:
        for part in self._reducers:
            part.after_step(epoch)

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        owner, own = self._owner(stage)
        others = [part for part in self._reducers if part is not owner]
        index = self._reducers.index(owner)
        return [_renamed(group, index) for group in owner.groups(own, backbone)] + [
            Group(type(part).__name__, {f"reducer.{n}": p for n, p in part.named_parameters()})
            for part in others
        ]

    def flops(self, trace: Trace, shape: Shape) -> int:
        return sum(part.flops(trace, shape) for part in self._reducers)

    def describe(self) -> dict[str, Any]:
        return {name: x for part in self._reducers for name, x in part.describe().items()}

    def _owner(self, stage: Stage) -> tuple[Reducer, Stage]:
        """The part that a stage belongs to, and the stage under the name that the part gave it."""
        index, _, name = stage.name.partition("_")
        return self._reducers[int(index)], replace(stage, name=name)


def _renamed(group: Group, index: int) -> Group:
    """The group with the names that the chain gives the loss terms of its part."""
    if group.terms is None:
        return group
    return replace(group, terms=frozenset(_term(name, index) for name in group.terms))


def _term(name: str, index: int) -> str:
    """The name of a part's loss term in a chain; the task's is everybody's."""
    return name if name == "task" else f"{name}_{index}"


def _seen_by(index: int, encoded: Encoded) -> Encoded:
    """A pass with the memory of one part."""
    return replace(encoded, memory=encoded.memory[index])


def _own(view: View) -> list[View]:
    """The view of each part: the same, with the memory that the part began with."""
    return [replace(view, memory=memory) for memory in view.memory]


def _merge(one: Decision, other: Decision) -> Decision:
    """Both decisions at once. The answer of a row is that of the first part that lets it leave."""

    def both(a: Tensor | None, b: Tensor | None, how: Callable[..., Tensor]) -> Tensor | None:
        return b if a is None else a if b is None else how(a, b)

    answer = both(
        one.answer,
        other.answer,
        lambda a, b: torch.where(one.leave[:, None], a, b) if one.leave is not None else b,
    )
    if one.into is not None and other.into is not None:
        raise UserError("two parts of a chain merge tokens in the same layer: take one of them")
    removing = [d for d in (one, other) if d.keep is not None or d.into is not None]
    return Decision(
        keep=both(one.keep, other.keep, torch.logical_and),
        counts=removing[0].counts if len(removing) == 1 else None,
        scale=both(one.scale, other.scale, torch.mul),
        into=one.into if other.into is None else other.into,
        weight=one.weight if other.into is None else other.weight,
        key_bias=both(one.key_bias, other.key_bias, torch.add),
        skip=one.skip or other.skip,
        leave=both(one.leave, other.leave, torch.logical_or),
        answer=answer,
    )
