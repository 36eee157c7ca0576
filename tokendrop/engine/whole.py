"""A whole pass as one CUDA graph, where the host knows beforehand how many tokens leave each layer.

That is so of the dense model and of methods that rank tokens (:class:`Ranking`), for families whose
layers know no positions. Which tokens stay is decided inside of the graph. It is what
:func:`tokendrop.engine.encoder.encode` does layer by layer, without the host in between: where rows
begin and how many tokens they keep is sent as numbers, for all layers at once.

A graph has room for more rows and tokens than it is given. Rows without tokens fill up the rows,
and spare ones behind the tokens mean nothing, as in all passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.engine import graphs
from tokendrop.engine.attention import attend
from tokendrop.engine.facts import joined, pinned, separated
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.engine.plan import Method, Plan, Size
from tokendrop.engine.ragged import kernels_on
from tokendrop.engine.trace import Encoded, LayerTrace, Trace
from tokendrop.families import Family, family_of
from tokendrop.heads import reads_tokens
from tokendrop.reducers.base import Reducer

# numbers of the states of a pass; with more of them, it is the device that the host waits for
NUMBERS = 32_768 * 768
GRAPHS = 64  # of a model, at most
SPARE = 1.25  # times the tokens of all stations, in a graph that serves a pass


def whole_pass(model: PreTrainedModel, batch: Batch, reducer: Reducer) -> Encoded | None:
    """The pass of a batch in one launch, None where it has to go layer by layer.

    A size is recorded when it comes for the second time.
    """
    device = batch.layout.device
    if not graphs.usable(model, batch.input_ids) or not kernels_on(device):
        return None
    family = family_of(model)
    if reads_tokens(model) or not _knows_no_positions(family):
        return None
    if len(batch.input_ids) * model.config.hidden_size > NUMBERS:
        return None
    method = Method.of(reducer)
    if method is None or (plan := Plan.of(batch, method, len(family.layers(model)))) is None:
        return None
    with graphs.alone() as free:
        recorded = _recorded(model, family, method, plan) if free else None
        return None if recorded is None else recorded(batch, plan, reducer.start(batch))


def _knows_no_positions(family: Family) -> bool:
    kind = type(family)
    return all(
        getattr(kind, name) is getattr(Family, name) for name in ("rotary", "relative", "window")
    )


def _recorded(
    model: PreTrainedModel, family: Family, method: Method, plan: Plan
) -> _Recorded | None:
    """The graph for a pass, None where its size is met for the first time."""
    size, known = Size.of(plan), graphs.recordings(model)
    place = (size.rows, size.tokens[0], size.longest, plan.drops, method.received)
    # those of a place differ in how many tokens later layers have; what was used last is at the end
    recorded: list[_Recorded] | None = known.pop(place, None)
    known[place] = [] if recorded is None else recorded
    if recorded is None:
        return None

    def grown(one: _Recorded) -> int:
        return one.size.or_more(size).total

    fits = [one for one in recorded if grown(one) <= SPARE * size.total]
    one = min(fits, key=grown, default=None)
    if one is not None:
        recorded.remove(one)
        size = one.size.or_more(size)
    elif sum(map(len, known.values())) >= GRAPHS:
        next(filter(None, known.values())).pop(0)
    if one is None or one.size != size:
        one = _Recorded(model, family, method, plan, size)
    recorded.append(one)
    return one


class _Recorded:
    """A recorded pass, and the tensors that it reads and leaves."""

    def __init__(
        self,
        model: PreTrainedModel,
        family: Family,
        method: Method,
        plan: Plan,
        size: Size,
    ) -> None:
        self.size = size
        arrays, device = size.numbers(plan), model.device
        with torch.inference_mode(False):  # of use inside and outside of it

            def room(*shape: int, kind: torch.dtype = torch.long) -> Tensor:
                return torch.zeros(shape, dtype=kind, device=device)

            self._words = [room(size.tokens[0]) for _ in range(3)]
            self._bytes = room(joined(arrays).size, kind=torch.uint8)
            self._tokens = room(sum(size.tokens))
            outputs = int(model.config.num_labels or 0)
            self._logits = room(size.rows, outputs, kind=torch.float32)
        numbers = separated(self._bytes, arrays)
        run = _pass_of(model, family, method, plan.drops, self.size, self._words, numbers)

        def answers() -> Tensor:
            tokens, logits = run()
            self._tokens.copy_(tokens)
            return logits

        self._tell(plan)
        self._replay = graphs.capture(answers, self._logits)

    def _tell(self, plan: Plan) -> None:
        numbers = pinned(joined(self.size.numbers(plan)), self._bytes.device)
        self._bytes.copy_(numbers, non_blocking=True)

    def __call__(self, batch: Batch, plan: Plan, memory: Any) -> Encoded:
        given = (batch.input_ids, batch.token_type_ids, batch.positions)
        for place, words in zip(self._words, given, strict=True):
            place[: len(words)].copy_(words)
        self._tell(plan)
        self._replay()
        rows = len(batch.layout.lengths)
        tokens = self._tokens.clone().split(self.size.tokens)
        layouts = [batch.layout] + [
            Layout(station.lengths, station.origin, kept[: station.tokens])
            for station, kept in zip(plan.stations[1:], tokens[1:], strict=True)
        ]
        spare = [
            room - station.tokens
            for room, station in zip(self.size.tokens, plan.stations, strict=True)
        ]
        trace = Trace(batch.layout, head_states=rows)
        stations = accumulate(plan.drops, initial=0)
        for index, (before, after) in enumerate(pairwise(stations)):
            reached, left = layouts[before], layouts[after]
            ran = LayerTrace(index, reached, reached, left, (spare[before], spare[after]))
            trace.layers.append(ran)
        return Encoded(batch, self._logits[:rows].clone(), trace, memory)


def _pass_of(
    model: PreTrainedModel,
    family: Family,
    method: Method,
    drops: Sequence[bool],
    size: Size,
    words: Sequence[Tensor],
    numbers: dict[str, Tensor],
) -> Callable[[], tuple[Tensor, Tensor]]:
    """What a graph launches: it gives the tokens of all stations, and the logits by place."""
    from tokendrop.engine.ragged.rows import row_gather, row_rank

    def layout(number: int, tokens: Tensor) -> Layout:
        # of the lengths, only the longest is asked for
        made = Layout((size.longest,), (0,), tokens)
        names = ("offsets", "cu_seqlens", "tiles", "first")
        vars(made)["_facts"] = {name: numbers[f"{name}{number}"] for name in names}
        return made

    ids, types, positions = words

    def run() -> tuple[Tensor, Tensor]:
        start = layout(0, torch.arange(size.tokens[0], device=ids.device))
        hidden = family.embed(model, Batch(ids, types, positions, start))
        stations = [start]
        for layer, drops_here in zip(family.layers(model), drops, strict=True):
            here = stations[-1]
            received = method.received if drops_here else None
            context, scores = attend(*family.project(layer, hidden), here, received=received)
            if drops_here:
                assert scores is not None
                number = len(stations)
                counts = numbers[f"counts{number}"]
                keep = row_rank(scores, here.offsets, here.tiles, counts, keep_first=True)
                rows = (numbers[f"came{number}"], numbers[f"offsets{number}"])
                kept, tokens = row_gather(
                    keep, here.tokens, here.offsets, *rows, size.tokens[number]
                )
                stations.append(layout(number, tokens))
                context, hidden = context.index_select(0, kept), hidden.index_select(0, kept)
            hidden = family.feed_forward(layer, family.close_attention(layer, context, hidden))
        logits = family.classify(model, family.pool(model, hidden, stations[-1])).float()
        answers = torch.empty_like(logits).index_copy_(0, numbers["places"], logits)
        return torch.cat([station.tokens for station in stations]), answers

    return run
