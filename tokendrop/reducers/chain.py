"""Several reducers in one model, e.g. a token reducer and an early exit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tokendrop.engine.packed import Batch
from tokendrop.engine.probabilities import Received
from tokendrop.engine.trace import Encoded, Trace
from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Group, Reducer, Shape, Stage, StageContext, Step, View
from tokendrop.reducers.combining import combined, narrowed, numbered, renamed
from tokendrop.reducers.given import (
    description_of,
    flops_of,
    groups_of,
    passes_of,
    score_of,
    stages_of,
)
from tokendrop.reducers.moments import Moment, checked


class Chain(Reducer):
    """Ask several reducers at every moment and do what any of them wants.

    A token stays if all keep it, a row leaves if one lets it leave (the first one's answer counts),
    factors multiply and biases add up. The recipes follow each other in order. In a stage

    - the part that it belongs to, its owner, decides the forward passes of a step and the best
      epoch;
    - parts whose first stage is still to come are silent: they decide nothing and cost nothing, so
      an exit that nobody has trained yet does not answer while PoWER-BERT searches;
    - the others go on as in the last epoch of their own last stage, at the rates of their groups;
      those that name none follow the stage's. Their losses count in every pass, averaged over the
      owner's passes, so that their weights mean what they mean alone.

    A part that trains for no epoch always acts. Terms, stages and whatever else is named by parts
    carry the index of the part, from 0. Weights that a part leaves out of a loss follow it in no
    stage.

    The last recipe has the last word on the backbone: a Length-Adaptive Transformer belongs at the
    end, because stages after its own run at full length. Arguments of a part are changed by their
    path, e.g. ``tokendrop.load(folder, **{"parts.1.exit_rule": "tight"})``.
    """

    def __init__(self, parts: list[Reducer]) -> None:
        """
        Args:
            parts: the reducers, in the order in which they are trained.

        Raises:
            UserError: parts rank tokens by different attention scores, or there are none.
        """
        super().__init__()
        if not parts:
            raise UserError("Chain.parts [] is empty: name at least one reducer, or take Dense")
        self.parts = nn.ModuleList(parts)
        kinds = {part.received for part in parts} - {None}
        if len(kinds) > 1:
            raise UserError(
                "the parts of a chain rank tokens by different attention scores "
                f"({', '.join(sorted(map(str, kinds)))}): combine at most one such token reducer"
            )
        self.received = next(iter(kinds), None)  # so that a chain of chains sees a conflict too
        self.note = " ".join(dict.fromkeys(part.note for part in parts if part.note))
        self.operating_arguments = frozenset(
            f"parts.{index}.{name}"
            for index, part in enumerate(parts)
            for name in part.operating_arguments
        )
        asked = (part.token_scores for part in parts)
        self.token_scores = next((scores for scores in asked if scores is not None), None)
        self.owner: int | None = None
        self._activate(range(len(parts)))

    @property
    def _reducers(self) -> list[Reducer]:
        return [part for part in self.parts if isinstance(part, Reducer)]

    @property
    def operating_point(self) -> dict[str, Any]:
        return {
            f"parts.{index}.{name}": value
            for index, part in enumerate(self._reducers)
            for name, value in part.operating_point.items()
        }

    @property
    def recipe(self) -> int:  # type: ignore[override]
        """That of the parts, 1 where all have their first one."""
        return 1 + sum(part.recipe - 1 for part in self._reducers)

    @property
    def evaluated_apart(self) -> bool:  # type: ignore[override]
        return any(part.evaluated_apart for part in self._reducers)

    def _activate(self, indices: Iterable[int]) -> None:
        """Let these parts act and all others be silent."""
        self.active = {index: self._reducers[index] for index in indices}
        self.attention_dropout = all(part.attention_dropout for part in self.active.values())

    def get_extra_state(self) -> Tensor:
        """Who acts: a model saved between two stages runs as it was trained."""
        return torch.tensor(list(self.active))

    def set_extra_state(self, state: Tensor) -> None:
        idle = [index for index, part in enumerate(self._reducers) if not _trains(part)]
        # those were silent in models of versions that took no epoch for a stage to come
        self._activate(sorted({*state.tolist(), *idle}))

    def build(self, shape: Shape) -> None:
        trained = 0
        for index, part in enumerate(self._reducers):
            part.build(shape)
            stages = stages_of(part)
            if trained and any(stage.start == "pretrained" for stage in stages):
                raise UserError(
                    f"part {index} of the chain, {type(part).__name__}, begins with the pretrained "
                    "encoder, which undoes the parts before it: put it first, or use its init: "
                    "finetuned"
                )
            trained += len(stages)

    # -- the encoder's moments ------------------------------------------------------------------

    def start(self, batch: Batch) -> dict[int, Any]:
        return {index: part.start(batch) for index, part in self.active.items()}

    def before_layer(self, view: View) -> Decision | None:
        return self._ask("before_layer", view)

    def after_attention(self, view: View) -> Decision | None:
        return self._ask("after_attention", view)

    def after_layer(self, view: View) -> Decision | None:
        return self._ask("after_layer", view)

    def wants_received(self, view: View) -> Received | None:
        wanted = [part.wants_received(own) for part, own in self._views(view)]
        return next((kind for kind in wanted if kind is not None), None)

    def _ask(self, moment: Moment, view: View) -> Decision:
        decision = Decision()
        for part, own in self._views(view):
            more = checked(getattr(part, moment)(own), own, part, moment)
            if more is not None:
                decision = combined(decision, more, own)
        return decision

    def _views(self, view: View) -> Iterator[tuple[Reducer, View]]:
        """Who acts, each with the view that holds the memory it began with."""
        for index, part in self.active.items():
            yield part, replace(view, memory=view.memory[index])

    # -- training -------------------------------------------------------------------------------

    @property
    def passes(self) -> int:
        return 1 if self.owner is None else self._reducers[self.owner].passes

    def training_passes(self, step: Step) -> Iterator[dict[str, Tensor]]:
        """The owner's passes; to each, the terms of the other parts are added."""
        if self.owner is None:
            yield from super().training_passes(step)
            return
        index = self.owner
        run: list[Encoded] = []  # since the last backward pass

        def forward() -> Encoded:
            run.append(step.forward())
            return replace(run[-1], memory=run[-1].memory[index])

        for terms in passes_of(self._reducers[index], replace(step, forward=forward)):
            losses = numbered(terms, index)
            for encoded in run:
                for name, loss in self.losses(encoded, without=index).items():
                    losses[name] = losses.get(name, 0) + loss / self.passes
            run.clear()
            yield losses

    def losses(self, encoded: Encoded, without: int | None = None) -> dict[str, Tensor]:
        """Of all parts that act, but one where it is named."""
        losses: dict[str, Tensor] = {}
        for index, part in self.active.items():
            if index != without:
                own = replace(encoded, memory=encoded.memory[index])
                losses |= numbered(part.added_terms(own), index)
        return losses

    def stages(self) -> list[Stage]:
        return [
            replace(stage, name=f"{index}_{stage.name}")
            for index, part in enumerate(self._reducers)
            for stage in part.stages()
        ]

    def enter(self, stage: Stage, context: StageContext) -> None:
        self.owner, own = self._owner(stage)
        parts = enumerate(self._reducers)
        self._activate([i for i, part in parts if i <= self.owner or not _trains(part)])
        for _, part, last in self._going_on(self.owner):
            part.enter(last, context)
        self._reducers[self.owner].enter(own, context)

    def leave(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        index, own = self._owner(stage)
        self._reducers[index].leave(own, metrics)
        self.owner = None

    def before_step(self, epoch: int) -> None:
        for part, own_epoch in self._epochs(epoch):
            part.before_step(own_epoch)

    def after_step(self, epoch: int) -> None:
        for part, own_epoch in self._epochs(epoch):
            part.after_step(own_epoch)

    def score(self, metric: float, metrics: Mapping[str, float]) -> float:
        if self.owner is None:
            return metric
        return score_of(self._reducers[self.owner], metric, metrics)

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        """The owner's groups and, for their own weights, those of the parts that go on."""
        index, own = self._owner(stage)
        groups = [renamed(g, index) for g in groups_of(self._reducers[index], own, backbone)]
        shared = {id(parameter) for parameter in backbone.parameters()}
        for other, part, last in self._going_on(index):
            for group in (renamed(g, other) for g in groups_of(part, last, backbone)):
                groups = [narrower for g in groups for narrower in narrowed(g, group)]
                theirs = {n: p for n, p in group.parameters.items() if id(p) not in shared}
                if theirs:
                    groups.append(replace(group, parameters=theirs))
        return groups

    def _going_on(self, owner: int) -> Iterator[tuple[int, Reducer, Stage]]:
        """The parts trained before the owner, each with its last stage."""
        for index, part in enumerate(self._reducers[:owner]):
            if _trains(part):
                yield index, part, part.stages()[-1]

    def _epochs(self, epoch: int) -> Iterator[tuple[Reducer, int]]:
        """Who is trained, and the epoch it is in: for parts that go on, their own last one."""
        if self.owner is not None:
            for _, part, last in self._going_on(self.owner):
                yield part, max(0, last.epochs - 1)
            yield self._reducers[self.owner], epoch

    def _owner(self, stage: Stage) -> tuple[int, Stage]:
        """The part that a stage belongs to, and the stage under the name that the part gave it."""
        index, _, name = stage.name.partition("_")
        return int(index), replace(stage, name=name)

    # -- after training -------------------------------------------------------------------------

    def flops(self, trace: Trace, shape: Shape) -> int:
        return sum(flops_of(part, trace, shape) for part in self.active.values())

    def caveat(self) -> str:
        return " ".join(filter(None, (part.caveat() for part in self._reducers)))

    def cure_for_keeping_all(self) -> str:
        return "; ".join(filter(None, (part.cure_for_keeping_all() for part in self._reducers)))

    def describe(self) -> dict[str, Any]:
        """What the parts say; names that several use are numbered."""
        said = [description_of(part) for part in self._reducers]
        uses = Counter(name for one in said for name in one)
        return {
            f"{name}_{index}" if uses[name] > 1 else name: value
            for index, one in enumerate(said)
            for name, value in one.items()
        }


def _trains(part: Reducer) -> bool:
    """Whether a part has an epoch to train for."""
    return any(stage.epochs for stage in part.stages())
