"""Scores and costs of length configurations on fixed rows, computing nothing twice.

Rows are packed and embedded once. Configurations are run in lexicographic order, layer by layer,
so those that agree on the first layers share these layers' states; only the states of the present
path are held, of one batch. Configurations that keep the same tokens of every row in a batch, which
on short rows many do, share the batch's answers.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from tokendrop.data.batching import Batches, chunks
from tokendrop.data.split import Split
from tokendrop.engine.encoder import walk
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.families import family_of
from tokendrop.measure.flops import embedding_flops, head_flops, layer_flops
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.length_adaptive import LengthAdaptive, Plan
from tokendrop.reducers.length_adaptive.search.costs import Costs
from tokendrop.reducers.length_adaptive.search.front import Configuration
from tokendrop.reducers.stored import stored_reducer
from tokendrop.tasks import Task

# for each layer, tokens that leave it, by the lengths that rows of a batch have at first
Path = tuple[tuple[int, ...], ...]

BATCH = 32


def draw_rows(split: Split, count: int) -> list[int]:
    """So many rows, the same ones for every search, by length so that batches are alike inside.

    Of a question all windows are drawn or none, as all of them answer it: a few rows more.
    """
    draw = random.Random(0)
    if split.windows is None:
        rows = draw.sample(range(len(split)), min(count, len(split)))
    else:
        windows: dict[int, list[int]] = {}
        for row, window in enumerate(split.windows):
            windows.setdefault(window.number, []).append(row)
        rows = []
        for question in draw.sample(list(windows), len(windows)):
            if len(rows) >= count:
                break
            rows += windows[question]
    return sorted(rows, key=lambda row: (split.lengths[row], row))


class Candidates:
    """Length configurations of one trained model, on rows of a split."""

    def __init__(
        self, model: TokenDropModel, split: Split, rows: Sequence[int], task: Task
    ) -> None:
        """
        Args:
            model: a trained Length-Adaptive Transformer; it is left as it is.
            split: where the rows lie.
            rows: indices into the split.
            task: what is measured.
        """
        reducer = stored_reducer(model.reducer.spec(), trusted=True)
        assert isinstance(reducer, LengthAdaptive)
        reducer.build(model.shape)
        self.reducer = reducer.eval()
        self.task = task
        self.rows = rows
        self._split = split
        self._model = model
        model.eval()
        self._parts = [
            _Part(model, self.reducer, batch.to(model.backbone.device))
            for batch in Batches(split, chunks(rows, BATCH))
        ]
        lengths = [split.lengths[row] for row in rows]
        self.cost = Costs(reducer, model.backbone.config, model.shape, lengths)

    def count_before(self, configurations: Iterable[Configuration]) -> None:
        """Take the FLOPs of configurations as counted, which an interrupted search had run.

        What it had run and is needed again is run again, but counted once: so a search that was
        interrupted has the FLOPs of one that was not.
        """
        known = list(configurations)
        for part in self._parts:
            part.count_before(known)

    def scores_and_flops(self, configurations: Sequence[Configuration]) -> tuple[list[float], int]:
        """The scores, and the FLOPs of what had to be run to find them for the first time."""
        before = sum(part.flops for part in self._parts)
        scores = self.scores(configurations)
        return scores, sum(part.flops for part in self._parts) - before

    @torch.inference_mode()
    def scores(self, configurations: Sequence[Configuration]) -> list[float]:
        """The task's metric of each configuration."""
        for part in self._parts:
            part.run(configurations)
        found = []
        for configuration in configurations:
            scores = self.task.scores(self._split)
            for part in self._parts:
                scores.update(part.logits(configuration), part.batch)
            found.append(scores.values(self.task.metric)[self.task.metric])
        if self.task.head.reads_tokens:  # too large to be held for all that a search evaluates
            for part in self._parts:
                part.forget()
        return found


@dataclass(frozen=True, eq=False)
class _State:
    """What leaves a layer: a packed batch of the live tokens, and their states.

    Attributes:
        rows: (R,) the row of the whole batch that each live row is.
        lengths: which of the batch's first lengths each live row had.
        tokens: (T,) the token of the whole batch that each live token is.
        restored: (T_0, hidden) the last state of every token of the whole batch, for heads that
            read them all; else None.
    """

    hidden: Tensor
    batch: Batch
    rows: Tensor
    lengths: tuple[int, ...]
    tokens: Tensor
    restored: Tensor | None


class _Part:
    """One packed batch.

    Attributes:
        flops: of all that was run so far, without what is run again after an interruption.
    """

    def __init__(self, model: TokenDropModel, reducer: LengthAdaptive, batch: Batch) -> None:
        self._model = model
        self._reducer = reducer
        self.batch = batch
        self._lengths = sorted(set(batch.layout.lengths))
        self._answers: dict[Path, Tensor] = {}
        self._counted: set[Path] = set()
        self.flops = 0

    def logits(self, configuration: Configuration) -> Tensor:
        """(B, classes) answers, or (T_0, outputs) of tokens, at a configuration that was run."""
        return self._answers[self._path(configuration)]

    def forget(self) -> None:
        """Free the answers; what is asked for again is run again, and its FLOPs count once."""
        self._answers.clear()

    def count_before(self, configurations: Iterable[Configuration]) -> None:
        """Take the FLOPs of configurations as counted by an earlier run."""
        self._counted.update(map(self._path, configurations))

    def run(self, configurations: Sequence[Configuration]) -> None:
        todo = sorted({self._path(one) for one in configurations} - self._answers.keys())
        before: Path = ()
        states = [self._embedded]
        flops: dict[Path, int] = {}  # of the last layer of each beginning of a path
        for path in todo:
            shared = _shared(before, path)
            del states[shared + 1 :]
            for layer in range(shared, len(path)):
                state, flops[path[: layer + 1]] = self._layer(states[-1], layer, path[layer])
                states.append(state)
            self._answers[path] = self._answer(states[-1])
            before = path
        self._count([path for path in todo if path not in self._counted], flops)

    def _count(self, new: Sequence[Path], flops: Mapping[Path, int]) -> None:
        """Count what these paths alone take, in this order, after those counted before."""
        if new and not self._counted:
            self.flops += embedding_flops(sum(self.batch.layout.lengths), self._model.shape)
        for before, path in pairwise([(), *new]):
            ends = range(_shared(before, path), len(path))
            self.flops += sum(flops[path[: end + 1]] for end in ends)
            self.flops += head_flops(self._model.backbone) * len(self._answers[path])
        self._counted.update(new)

    def _path(self, configuration: Configuration) -> Path:
        """What a configuration means for rows of this batch."""
        kept = []
        alive = self._lengths
        per_length = [self._reducer.lengths_of(n, configuration) for n in self._lengths]
        for lengths in zip(*per_length, strict=True):
            alive = [min(n, length) for n, length in zip(alive, lengths, strict=True)]
            kept.append(tuple(alive))
        return tuple(kept)

    @cached_property
    def _embedded(self) -> _State:
        place = {n: i for i, n in enumerate(self._lengths)}
        layout = self.batch.layout
        hidden = family_of(self._model.backbone).embed(self._model.backbone, self.batch)
        return _State(
            hidden,
            self.batch,
            layout.rows,
            tuple(place[n] for n in layout.lengths),
            layout.tokens,
            hidden if self._model.shape.head.reads_tokens else None,
        )

    def _layer(self, state: _State, layer: int, kept: tuple[int, ...]) -> tuple[_State, int]:
        """Run one layer by the encoder's own loop, with all others skipped; also its FLOPs."""
        runs = [index == layer for index in range(self._reducer.layers)]
        lengths = [[kept[place]] * len(runs) for place in state.lengths]
        plan = Plan.of(state.batch.layout.lengths, lengths, runs)
        with self._reducer.following(lambda batch: plan):
            walked = walk(self._model.backbone, state.batch, self._reducer, state.hidden)
        flops = 0
        for ran in walked.trace.layers:
            fed = sum(ran.feed_forward.lengths)
            flops += layer_flops(ran.attention.lengths, fed, self._model.shape, projected=fed)
        rows, tokens = walked.layout.rows, walked.layout.tokens
        batch = Batch(
            state.batch.input_ids[tokens],
            state.batch.token_type_ids[tokens],
            state.batch.positions[tokens],
            Layout.of(walked.layout.lengths, state.hidden.device),
        )
        order = tuple(state.lengths[row] for row in walked.layout.origin)
        tokens, restored = state.tokens[tokens], state.restored
        if restored is not None:  # what was dropped keeps the state that it had before this layer
            restored = restored.index_copy(0, tokens, walked.hidden)
        return _State(walked.hidden, batch, state.rows[rows], order, tokens, restored), flops

    def _answer(self, state: _State) -> Tensor:
        backbone = self._model.backbone
        family = family_of(backbone)
        if state.restored is not None:
            return family.read_tokens(backbone, state.restored).float()
        pooled = family.pool(backbone, state.hidden, state.batch.layout)
        logits = family.classify(backbone, pooled).float()
        return torch.empty_like(logits).index_copy(0, state.rows, logits)


def _shared(one: Path, other: Path) -> int:
    """How many layers two paths begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
