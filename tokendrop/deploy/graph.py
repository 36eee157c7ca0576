"""The encoder loop over padded rows, which is what is exported; see :mod:`tokendrop.deploy.padded`.

It walks the parts of an unmodified Hugging Face model as :func:`tokendrop.engine.encoder.encode`
does and asks the same methods at the same moments. A method that lets rows leave early makes one
graph of the layers between two places where they may.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tokendrop.deploy.methods import Part, exporting, held_by, parts_of
from tokendrop.deploy.padded import NotHandedOn, PaddedLayout
from tokendrop.engine.packed import Batch
from tokendrop.engine.positions import looked_up
from tokendrop.errors import UserError
from tokendrop.families import family_of
from tokendrop.heads import reads_tokens
from tokendrop.reducers.base import Decision, Reducer, Shape, View

Tensors = dict[str, Tensor]


class PaddedEncoder(nn.Module):
    """Some layers of a model for padded rows, from the embeddings or from an exit on.

    Inputs of the first are ``input_ids``, ``attention_mask`` and, where the model has them,
    ``token_type_ids``, all (B, S). The last gives ``logits`` (B, classes). One that ends where rows
    may leave gives ``leave`` (B,) with the ``logits`` of those that do, and for the next one
    ``hidden`` (B, S', hidden), ``attention_mask`` and ``positions`` (B, S'), ``first_lengths`` (B,)
    and what the methods carry, all of them for all rows.
    """

    def __init__(
        self, model: PreTrainedModel, reducer: Reducer, shape: Shape, start: int, stop: int
    ) -> None:
        """
        Args:
            model: a classifier or a regression of a supported family, on the processor.
            reducer: the method, built and in evaluation mode.
            shape: of the model.
            start: the first layer.
            stop: behind the last layer.

        Raises:
            UserError: the model or the method cannot be exported.
        """
        super().__init__()
        self.model, self.reducer = model, reducer
        self.family = family_of(model)
        widest = self.family.positions(model.config)
        self.parts = parts_of(reducer, shape, widest)
        relative = self.family.relative(model, Batch.pack([[0] * widest]))
        # (heads, distances) what is added to the logits, of rows as long as any may be
        self.by_distance = None if relative is None else relative.by_distance.detach()
        self.start, self.stop, self.depth = start, stop, shape.layers
        self.seen = set[int]()  # layers behind which a row may leave
        self.eval()  # or the exporter leaves the model training
        self.names = list(self._inputs())
        self.found = [""]  # names of the outputs, known after a pass

    def _inputs(self) -> Iterator[str]:
        if self.start == 0:
            yield from ("input_ids", "attention_mask")
            if getattr(self.model.config, "type_vocab_size", 0) > 1:
                yield "token_type_ids"
            return
        yield from ("hidden", "attention_mask", "positions", "first_lengths")
        for number, part in enumerate(self.parts):
            yield from (f"{name}_{number}" for name in part.reducer.carried)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        # with gradients, so that linear layers do not take weights in oneDNN's order
        with torch.enable_grad():
            outputs = self._run(dict(zip(self.names, given, strict=True)))
        self.found = list(outputs)
        return tuple(outputs.values())

    def _run(self, given: Tensors) -> Tensors:
        real = given["attention_mask"].bool()
        rows, columns = real.shape
        layout = PaddedLayout(real, torch.arange(rows * columns))
        # of padding any, but one that tables of positions have, however wide the matrix
        places = given.get("positions", torch.arange(columns) * real).flatten()
        if self.start == 0:
            ids = given["input_ids"].flatten()
            types = given.get("token_type_ids", torch.zeros_like(ids)).flatten()
            batch = Batch(ids, types, places, layout)
            hidden, lengths = self.family.embed(self.model, batch), layout.sizes
            width = torch.as_tensor(layout.width)  # known before the rows in it are
        else:
            gone: Any = NotHandedOn()
            batch = Batch(gone, gone, places, layout)
            hidden, lengths = given["hidden"].flatten(0, 1), given["first_lengths"]
            width = lengths.max()
        memories = [self._memory(n, part, given) for n, part in enumerate(self.parts)]
        walk = _Walk(self, batch, layout, hidden, lengths, width, memories)
        left: Decision | None = None
        for index in range(self.start, self.stop):
            left = walk.layer(index, self.family.layers(self.model)[index])
            if left is not None:
                self.seen.add(index)
        if self.stop == self.depth:
            if left is not None and left.answer is not None:
                return {"logits": left.answer}
            pooled = self.family.pool(self.model, walk.hidden, walk.layout)
            return {"logits": self.family.classify(self.model, pooled)}
        assert left is not None
        assert left.leave is not None
        assert left.answer is not None
        return {
            "leave": left.leave,
            "logits": left.answer,
            "hidden": walk.hidden.view(*walk.layout.real.shape, -1),
            "attention_mask": walk.layout.real.long(),
            "positions": places.index_select(0, walk.layout.tokens).view(walk.layout.real.shape),
            "first_lengths": lengths,
        } | self._carried(memories)

    def _memory(self, number: int, part: Part, given: Tensors) -> Any:
        """What a method begins the pass with, or goes on with."""
        rows = given["attention_mask"].shape[0]
        with exporting(part.reducer, "start"):
            memory = part.reducer.start(Batch.pack([[0]]))  # of one row, which all rows begin alike
            held = held_by(memory)
            for name, value in held.items():
                if isinstance(value, Tensor):
                    every = value.expand(rows, *value.shape[1:]).clone()  # may be written into
                    held[name] = given.get(f"{name}_{number}", every)
        return memory

    def _carried(self, memories: Sequence[Any]) -> Tensors:
        carried = {}
        for number, (part, memory) in enumerate(zip(self.parts, memories, strict=True)):
            held = held_by(memory)
            for name in part.reducer.carried:
                if not isinstance(held.get(name), Tensor):
                    raise UserError(
                        f"{type(part.reducer).__name__} cannot be exported: its carried names "
                        f"{name!r}, which is no tensor of what its start returns: name one, in an "
                        "object or a dictionary"
                    )
                carried[f"{name}_{number}"] = held[name]
        return carried


@dataclass(eq=False)
class _Walk:
    """A pass: the states and where they lie, layer after layer."""

    encoder: PaddedEncoder
    batch: Batch
    layout: PaddedLayout
    hidden: Tensor  # (T, hidden)
    lengths: Tensor  # (B,) the first ones
    width: Tensor  # no row was longer
    memories: list[Any]
    dropped: set[int] = field(default_factory=set)  # the parts by which tokens were
    relative: tuple[PaddedLayout, Tensor] | None = None  # positions of a layout, several layers'

    def layer(self, index: int, layer: Any) -> Decision | None:
        """Run a layer; what a method says that lets rows leave behind it, if any does."""
        family = self.encoder.family
        before = [self._ask("before_layer", n, index) for n in range(len(self.encoder.parts))]
        if not any(decision.skip for decision in before):
            self._drop(before, index, None, before=True)
            projected = family.project(layer, self.hidden)
            query, key, value = map(self.layout.by_head, projected)
            size, wanted = int(query.shape[3]), self._wanted(index)
            logits = (query * size**-0.5) @ key.transpose(2, 3) + self.layout.bias
            if self.encoder.by_distance is not None:
                logits = logits + self._relative(self.encoder.by_distance)
            shares = logits.softmax(-1)
            context = (shares @ value).transpose(1, 2).reshape(-1, int(query.shape[1]) * size)
            received = None
            if wanted is not None:
                received = self.layout.received(shares, diagonal=wanted == "with_diagonal")
            view = replace(self._view(0, index, received), keys=projected[1])
            after = [
                self._ask("after_attention", n, index, view) for n in range(len(self.memories))
            ]
            kept = self._drop(after, index, received, before=False)
            if kept is not None:
                context = context.index_select(0, kept)
            self.hidden = family.close_attention(layer, context, self.hidden)
            self.hidden = family.feed_forward(layer, self.hidden)
        behind = [self._ask("after_layer", n, index) for n in range(len(self.memories))]
        leaving = [decision for decision in behind if decision.leave is not None]
        if len(leaving) > 1:
            raise UserError("two exits in one chain cannot be exported: take one of them")
        return leaving[0] if leaving else None

    def _relative(self, by_distance: Tensor) -> Tensor:
        """(B, heads, S, S) what relative positions add; they are those before anything dropped."""
        if self.relative is None or self.relative[0] is not self.layout:
            places = self.batch.positions.index_select(0, self.layout.tokens)
            found = looked_up(by_distance, places.view(self.layout.real.shape))
            self.relative = self.layout, found
        return self.relative[1]

    def _wanted(self, index: int) -> str | None:
        for number, part in enumerate(self.encoder.parts):
            if part.ranking is not None:
                if index in part.drops and part.reducer.received and not part.ranking.before:
                    return part.reducer.received
            elif wanted := part.reducer.wants_received(self._view(number, index)):
                return wanted
        return None

    def _view(self, number: int, index: int, received: Tensor | None = None) -> View:
        depth, memory = self.encoder.depth, self.memories[number]
        return View(index, depth, self.layout, self.hidden, memory, self.batch, received)

    def _ask(self, moment: str, number: int, index: int, view: View | None = None) -> Decision:
        part = self.encoder.parts[number]
        if part.ranking is not None:
            return Decision()
        view = replace(view or self._view(number, index), memory=self.memories[number])
        with exporting(part.reducer, moment):
            decision: Decision = getattr(part.reducer, moment)(view) or Decision()
        unknown = (decision.into, decision.scale, decision.key_bias)
        if any(value is not None for value in unknown):
            raise UserError(
                f"{type(part.reducer).__name__} cannot be exported: it merges, scales or weakens "
                "tokens, and a graph can only drop them"
            )
        return decision

    def _drop(
        self, decisions: list[Decision], index: int, received: Tensor | None, *, before: bool
    ) -> Tensor | None:
        """Compact to the tokens that stay: (T',) which ones, None if all do."""
        masks = {n: one.keep for n, one in enumerate(decisions) if one.keep is not None}
        ranks = [
            (number, part, part.ranking)
            for number, part in enumerate(self.encoder.parts)
            if part.ranking is not None and index in part.drops and part.ranking.before == before
        ]
        self.dropped |= {*masks, *(number for number, _, _ in ranks)}
        if ranks and len(self.dropped) > 1:  # how many stay by rank is known for whole rows
            raise UserError(
                "a method that drops tokens by rank cannot be exported in one chain with another "
                "that drops before it or beside it: take one of them"
            )
        if ranks:
            ((number, part, ranking),) = ranks
            assert part.most is not None
            counts = torch.minimum(part.most[index][self.lengths], self.layout.sizes)
            width = part.most[index].cummax(0).values[self.width]
            with exporting(part.reducer, "ranking"):
                scores = ranking.scores(self._view(number, index, received))
                found, self.layout = self.layout.best(scores, counts, width, ranking.keep_first)
        elif masks:
            found, self.layout = self.layout.keep(torch.stack([*masks.values()]).all(0))
        else:
            return None
        self.hidden = self.hidden.index_select(0, found)
        return found


def check_head(model: PreTrainedModel) -> None:
    """
    Raises:
        UserError: the model does not answer once for a text.
    """
    if reads_tokens(model):
        raise UserError(
            f"a {type(model).__name__} cannot be exported: its head reads every token, dropped "
            "ones too; models that answer once for a text can"
        )


def segments(model: PreTrainedModel, reducer: Reducer, shape: Shape) -> list[PaddedEncoder]:
    """The graphs of a model: one, or one for the layers between two exits.

    Raises:
        UserError: the model or the method cannot be exported.
    """
    check_head(model)
    family = family_of(model)
    one = Batch.pack([[0]])
    if family.rotary(model, one) is not None:
        raise UserError(
            f"a backbone of type {model.config.model_type!r} cannot be exported: it turns queries "
            "by their positions, which is not done in the graph; take one with position embeddings"
        )
    whole = PaddedEncoder(model, reducer, shape, 0, shape.layers)
    with torch.no_grad():
        whole(*(torch.ones(2, 3, dtype=torch.long) for _ in whole.names))
    cuts = sorted({0, shape.layers} | {index + 1 for index in whole.seen})
    if len(cuts) == 2:
        return [whole]
    return [PaddedEncoder(model, reducer, shape, start, stop) for start, stop in pairwise(cuts)]
