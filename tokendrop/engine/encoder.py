"""The encoder loop: one pass of an unmodified Hugging Face model over a packed, shrinking batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.engine.attention import attend
from tokendrop.engine.linear import spare_rows, takes_reordered, with_room
from tokendrop.engine.merging import merge, move, staying
from tokendrop.engine.packed import Batch, Layout
from tokendrop.engine.trace import Encoded, LayerTrace, Trace
from tokendrop.families import Family, family_of
from tokendrop.heads import reads_tokens
from tokendrop.reducers.base import Decision, Reducer, View

SLICE = 512  # tokens that go through the feed-forward part at a time


def encode(
    model: PreTrainedModel, batch: Batch, reducer: Reducer, embeddings: Tensor | None = None
) -> Encoded:
    """Run a model with its head on a batch, letting a reducer drop tokens and rows.

    The model's own training flag decides about dropout. Where the head reads every token, dropped
    ones are put back in place with the last state they had (Drop-and-Restore; Kim and Cho,
    Length-Adaptive Transformer, ACL 2021, section 3.2).

    Args:
        model: of a supported family.
        batch: what goes in.
        reducer: the method.
        embeddings: (T, hidden) in place of the embedding output, e.g. to take gradients of it.

    Raises:
        RuntimeError: the reducer dropped a row's first token, which the head reads.
    """
    family, by_token = family_of(model), reads_tokens(model)
    walked = walk(model, batch, reducer, embeddings, restore=by_token)
    layout, answers = walked.layout, walked.answers
    if layout.lengths:
        first = layout.first
        if not torch.equal(layout.tokens[first], batch.layout.first[layout.rows]):
            raise RuntimeError(f"{type(reducer).__name__} dropped the [CLS] token of a row")
        places = layout.rows
        if by_token:
            assert walked.restored is not None
            places = _tokens_of(layout.rows, batch.layout)
            logits = family.read_tokens(model, walked.restored[places])
        else:
            logits = family.classify(model, family.pool(model, walked.hidden, layout))
        answers = _record(answers, places, logits.float(), batch.layout, by_token)
        walked.trace.head_states = len(places)
    assert answers is not None
    return Encoded(batch, answers, walked.trace, walked.memory)


@dataclass(frozen=True, eq=False)
class Walked:
    """What the layers leave for a task's head. R rows and T tokens are still alive.

    Attributes:
        hidden: (T, hidden) states leaving the last layer.
        layout: where the live rows lie.
        answers: (B, classes) logits of the rows that left early, or (T_0, outputs) of their tokens
            with ``restore``; nan elsewhere, None if none left.
        trace: what was alive where.
        memory: the reducer's own record of the pass.
        restored: (T_0, hidden) a state for every original token: of the last layer it went
            through, or the embedding output (Drop-and-Restore); None if not asked for.
    """

    hidden: Tensor
    layout: Layout
    answers: Tensor | None
    trace: Trace
    memory: Any
    restored: Tensor | None


def walk(
    model: PreTrainedModel,
    batch: Batch,
    reducer: Reducer,
    embeddings: Tensor | None = None,
    *,
    restore: bool = False,
) -> Walked:
    """Run the layers of a model, without a head, letting a reducer drop tokens and rows.

    Args:
        model: of a supported family.
        batch: what goes in.
        reducer: the method.
        embeddings: (T, hidden) in place of the embedding output.
        restore: put the states of dropped tokens back in place, for heads that read every token.
    """
    family = family_of(model)
    layers, rotary = family.layers(model), family.rotary(model, batch)
    layout = batch.layout
    trace = Trace(layout)
    memory = reducer.start(batch)
    answers: Tensor | None = None
    departed: list[tuple[Tensor, Tensor]] = []
    # the original token whose state each original token has in the end
    home = layout.tokens if restore else None
    hidden = family.embed(model, batch) if embeddings is None else embeddings
    # spare rows lie behind the live tokens throughout; no reducer and no head sees them
    spare = spare_rows if takes_reordered(hidden) else lambda tokens: 0
    hidden = with_room(hidden, spare(len(hidden)))

    def live() -> Tensor:
        tokens = layout.tokens.shape[0]
        return hidden if tokens == hidden.shape[0] else hidden[:tokens]

    def look(received: Tensor | None = None, keys: Tensor | None = None) -> View:
        return View(index, len(layers), layout, live(), memory, batch, received, keys)

    def compact(keep: Tensor, counts: Sequence[int] | None = None) -> tuple[Tensor, Layout]:
        """The gather index of the tokens that stay, spare rows included, and their layout."""
        if restore:
            departed.append((layout.tokens[~keep], live()[~keep]))
        kept, after = layout.keep(keep, counts)
        return with_room(kept, spare(len(kept))), after

    def depart() -> None:
        """Let rows leave after a layer."""
        nonlocal hidden, layout, answers
        decision = _ask(reducer.after_layer, look())
        if decision.scale is not None:
            hidden = hidden * with_room(decision.scale, len(hidden) - len(layout.tokens))[:, None]
        if decision.leave is not None:
            assert decision.answer is not None
            places, answer = layout.rows[decision.leave], decision.answer
            if restore:
                places = _tokens_of(places, batch.layout)
            answer = answer[places] if restore else answer[decision.leave]
            answers = _record(answers, places, answer, batch.layout, restore)
            kept, layout = compact(~decision.leave[layout.row])
            hidden = hidden.index_select(0, kept)

    for index, layer in enumerate(layers):
        if not layout.lengths:
            break
        decision = _ask(reducer.before_layer, look())
        if decision.skip:
            depart()  # an exit reads what a skipped layer hands on
            continue
        entered, key_bias = layout, decision.key_bias
        if decision.keep is not None:
            kept, layout = compact(decision.keep, decision.counts)
            hidden = hidden.index_select(0, kept)
            key_bias = None if key_bias is None else key_bias[kept[: len(layout.tokens)]]
        attended, projected = layout, len(hidden)

        dropout = family.attention_dropout(layer) if reducer.attention_dropout else 0.0
        query, key, value = family.project(layer, hidden)
        if rotary is not None:
            query, key = rotary.turn(layer, query, key, layout)
        context, received = attend(
            query,
            key,
            value,
            layout,
            window=family.window(layer, batch, layout),
            received=reducer.wants_received(look()),
            key_bias=key_bias,
            dropout=dropout if model.training else 0.0,
        )
        decision = _ask(reducer.after_attention, look(received, key[: len(layout.tokens)]))
        del query, key, value
        scale, merged = decision.scale, decision.into is not None
        if scale is not None:
            scale = with_room(scale, len(hidden) - len(scale))
        if merged:
            context = merge(family.close_attention(layer, context, hidden), decision)
            home = None if home is None else move(home, layout, decision)
        if (keep := staying(decision)) is not None:
            kept, layout = compact(keep, decision.counts)
            # before the output projection, which works token by token: dropped ones need none
            context, hidden = context.index_select(0, kept), hidden.index_select(0, kept)
            scale = None if scale is None else scale[kept]
        hidden = context if merged else family.close_attention(layer, context, hidden)
        if scale is not None:
            hidden = hidden * scale[:, None]
        hidden = feed_forward(family, layer, hidden)
        spares = projected - len(attended.tokens), len(hidden) - len(layout.tokens)
        trace.layers.append(LayerTrace(index, entered, attended, layout, spares, merged))
        depart()
    hidden = live()

    restored = None
    if home is not None:
        tokens, states = zip(*departed, (layout.tokens, hidden), strict=True)
        last = torch.cat(tokens)
        # a token merged away departed too, but its state is not asked for
        restored = torch.cat(states)[last.argsort()[home]]
    return Walked(hidden, layout, answers, trace, memory, restored)


def feed_forward(family: Family, layer: Any, hidden: Tensor) -> Tensor:
    """The feed-forward part, in inference on a processor in slices: larger blocks of memory are
    handed back to the system after each use, and faulting them in again costs more than the
    activation.
    """
    if hidden.is_cuda or torch.is_grad_enabled() or len(hidden) <= SLICE:
        return family.feed_forward(layer, hidden)
    # nearly equal ones, as a short one is slow for its length, and of few different sizes
    slices = math.ceil(len(hidden) / SLICE)
    size = 32 * math.ceil(len(hidden) / slices / 32)
    return torch.cat([family.feed_forward(layer, part) for part in hidden.split(size)])


_NOTHING = Decision()


def _ask(moment: Callable[[View], Decision | None], view: View) -> Decision:
    """Let a reducer decide, in full precision whatever the backbone runs in."""
    if not torch.is_autocast_enabled(view.states.device.type):
        return moment(view) or _NOTHING
    with torch.autocast(view.states.device.type, enabled=False):
        return moment(view) or _NOTHING


def _tokens_of(rows: Tensor, start: Layout) -> Tensor:
    """The original tokens, dropped ones included, of these original rows, in ascending order."""
    chosen = torch.zeros_like(start.rows, dtype=torch.bool).index_fill(0, rows, True)
    return chosen[start.row].nonzero().squeeze(1)


def _record(
    answers: Tensor | None, places: Tensor, answer: Tensor, start: Layout, by_token: bool
) -> Tensor:
    """Write answers to their places in the result, which has one for each row or each token."""
    if answers is None:
        count = len(start.tokens) if by_token else len(start.lengths)
        answers = answer.new_full((count, answer.shape[1]), torch.nan)
    return answers.index_put((places,), answer)
