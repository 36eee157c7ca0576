"""What is alive between two moments of a pass, and how it becomes less."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tokendrop.engine.blocks import spread, starts
from tokendrop.engine.layout import Layout
from tokendrop.engine.linear import with_room
from tokendrop.engine.merging import merge, move
from tokendrop.engine.packed import Batch
from tokendrop.engine.parts import Parts
from tokendrop.engine.trace import Trace
from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.moments import Moment, checked

_NOTHING = Decision()
# which decide nothing, whatever they are shown
_SILENT = (Reducer.before_layer, Reducer.after_attention, Reducer.after_layer)


def is_silent(moment: Callable[[View], Decision | None]) -> bool:
    """Whether a reducer's moment decides nothing, whatever it is shown."""
    return getattr(moment, "__func__", None) in _SILENT


class Live:
    """The live rows and tokens of a pass: R rows and T tokens, of B and T_0 that went in.

    Attributes:
        batch: what went in.
        layout: where the live rows lie.
        hidden: (T + spare, hidden) states of the live tokens, and behind them spare rows, which
            make products faster (:func:`tokendrop.engine.linear.spare_rows`) and mean nothing: no
            reducer and no head sees them.
        memory: the reducer's own record of the pass.
        trace: what was alive where, so far.
        answers: of the rows that left early.
    """

    def __init__(
        self,
        batch: Batch,
        hidden: Tensor,
        memory: object,
        layers: int,
        restore: bool,
        parts: Parts,
        method: str,
    ) -> None:
        """
        Args:
            batch: what goes in.
            hidden: (T_0, hidden) what enters the first layer.
            memory: what the reducer began the pass with.
            layers: how many there are.
            restore: whether every original token has a state and an answer in the end.
            parts: what layers do token by token.
            method: the reducer's name, for messages.
        """
        self.batch = batch
        self.layout = batch.layout
        self.memory = memory
        self.trace = Trace(batch.layout)
        self.answers = Answers(batch.layout, by_token=restore)
        self._layers = layers
        # tokens that were dropped or left, each group with its last states
        self._departed: list[tuple[Tensor, Tensor]] = []
        # the original token whose state each original token has in the end
        self._home = batch.layout.tokens if restore else None
        self._parts = parts
        self._method = method
        self.hidden = with_room(hidden, parts.spare_rows(len(hidden)))

    @property
    def spare(self) -> int:
        """The number of spare rows behind the live tokens."""
        return self.hidden.shape[0] - self.layout.tokens.shape[0]

    @property
    def states(self) -> Tensor:
        """(T, hidden) the states without the spare rows."""
        return self.hidden[: len(self.layout.tokens)] if self.spare else self.hidden

    def view(self, layer: int, received: Tensor | None = None, keys: Tensor | None = None) -> View:
        """What a reducer sees now; keys may have spare rows."""
        keys = None if keys is None else keys[: len(self.layout.tokens)]
        return View(
            layer, self._layers, self.layout, self.states, self.memory, self.batch, received, keys,
            self._parts.reused, self._home is not None,
        )  # fmt: skip

    def ask(
        self,
        reducer: Reducer,
        moment: Moment,
        layer: int,
        received: Tensor | None = None,
        keys: Tensor | None = None,
    ) -> Decision:
        """Let a reducer decide, in full precision whatever the backbone runs in.

        Raises:
            UserError: what it decided cannot be done.
        """
        decide = getattr(reducer, moment)
        if is_silent(decide):
            return _NOTHING
        view = self.view(layer, received, keys)
        if not torch.is_autocast_enabled(view.states.device.type):
            decision = decide(view)
        else:
            with torch.autocast(view.states.device.type, enabled=False):
                decision = decide(view)
        return checked(decision, view, reducer, moment) or _NOTHING

    def compact(self, decision: Decision) -> Tensor | None:
        """Go on with the tokens that are neither dropped nor merged into another.

        Returns:
            which ones those are among the tokens before, spare rows behind them; None if all stay.

        Raises:
            UserError: a row would have no token left.
        """
        keep = decision.staying()
        if keep is None:
            return None
        counts = self.layout.counts(keep) if decision.counts is None else decision.counts
        if 0 in counts:
            raise UserError(
                f"{self._method} dropped all tokens of a row, [CLS] too, so that nothing can "
                "answer it: keep those where view.layout.is_first is true"
            )
        return self._keep(keep, counts)

    def _keep(self, keep: Tensor, counts: Sequence[int]) -> Tensor | None:
        present = self.layout.lengths
        if tuple(counts) == present:
            return None
        if self._home is not None:
            gone = (~keep).nonzero_static(size=sum(present) - sum(counts)).squeeze(1)
            self._departed.append((self.layout.tokens[gone], self.states[gone]))
        kept, self.layout = self.layout.keep(keep, counts, self._parts.spare_rows)
        self.hidden = self.hidden.index_select(0, kept)
        return kept

    def of_kept(self, values: Tensor | None, kept: Tensor | None) -> Tensor | None:
        """A value for each token before :meth:`compact`, for those that are left: (T,)."""
        if values is None or kept is None:
            return values
        return values[kept[: len(self.layout.tokens)]]

    def close_attention(
        self, decision: Decision, context: Tensor, close: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        """Merge, drop and scale tokens between the attention and the feed-forward part of a layer.

        Args:
            decision: what the reducer wants.
            context: (T + spare, hidden) what the tokens attended to.
            close: makes the states that leave attention out of the context and those that entered
                it, token by token.
        """
        merged = decision.into is not None
        if merged:
            context = merge(close(context, self.hidden), decision)
            if self._home is not None:
                self._home = move(self._home, self.layout, decision)
        kept = self.compact(decision)
        # tokens that are gone need no output projection
        context = context if kept is None else context.index_select(0, kept)
        self.hidden = context if merged else close(context, self.hidden)
        self._scale(self.of_kept(decision.scale, kept))

    def depart(self, decision: Decision) -> None:
        """Scale the states that leave a layer, and let rows leave the pass with their answers."""
        self._scale(decision.scale)
        if decision.leave is None:
            return
        assert decision.answer is not None
        lengths, origin = self.layout.lengths, self.layout.origin
        if decision.counts is None:
            # read back once, for the places of the answers and for what is left
            leaves: list[bool] = decision.leave.tolist()
        else:
            leaves = [count == 0 for count in decision.counts]
        leaving = [row for row, leaves_now in enumerate(leaves) if leaves_now]
        if not leaving:
            return
        places = self.answers.places([origin[row] for row in leaving])
        chosen = self.layout.on_device(leaving) if self._home is None else places
        self.answers.put(places, decision.answer[chosen])
        left = [0 if leaves_now else n for leaves_now, n in zip(leaves, lengths, strict=True)]
        self._keep(~decision.leave[self.layout.row], left)

    def _scale(self, factors: Tensor | None) -> None:
        if factors is not None:
            factors = with_room(factors.to(self.hidden.dtype), self.spare)
            self.hidden = self.hidden * factors[:, None]

    def restored(self) -> Tensor | None:
        """(T_0, hidden) the last state of every original token, None if not asked for."""
        if self._home is None:
            return None
        tokens, states = zip(*self._departed, (self.layout.tokens, self.states), strict=True)
        last = torch.cat(tokens)
        # a token merged away departed too, but its state is not asked for
        return torch.cat(states)[last.argsort()[self._home]]


class Answers:
    """The logits of a batch, which its rows get at different times.

    Attributes:
        logits: (B, classes), or (T_0, outputs) of all original tokens; nan where there is no answer
            yet, None as long as there is none at all.
    """

    def __init__(self, start: Layout, by_token: bool) -> None:
        """
        Args:
            start: the layout of the batch.
            by_token: whether every token has an answer instead of every row.
        """
        self.logits: Tensor | None = None
        self._start = start
        self._by_token = by_token

    def places(self, rows: Sequence[int]) -> Tensor:
        """Where the answers of these original rows stand, in ascending order if tokens have them.

        Tokens that were dropped have one too.
        """
        start = self._start
        if not self._by_token:
            return start.on_device(rows)
        begins, chosen = starts(start.lengths), sorted(rows)
        return start.on_device(spread([start.lengths[row] for row in chosen], begins[chosen]))

    def put(self, places: Tensor, logits: Tensor) -> None:
        """Write answers to their places, in fp32."""
        logits = logits.float()
        if self.logits is None:
            count = len(self._start.tokens) if self._by_token else len(self._start.lengths)
            self.logits = logits.new_full((count, logits.shape[1]), torch.nan)
        self.logits = self.logits.index_put((places,), logits)
