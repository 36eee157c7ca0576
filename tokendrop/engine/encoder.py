"""The encoder loop: one pass of an unmodified Hugging Face model over a packed, shrinking batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.engine.attention import attend
from tokendrop.engine.live import Answers, Live
from tokendrop.engine.packed import Batch, Layout
from tokendrop.engine.trace import Encoded, LayerTrace, Trace
from tokendrop.families import Family, family_of
from tokendrop.heads import reads_tokens
from tokendrop.reducers.base import Reducer

SLICE = 512  # tokens that go through the feed-forward part at a time


def encode(
    model: PreTrainedModel, batch: Batch, reducer: Reducer, embeddings: Tensor | None = None
) -> Encoded:
    """Run a model with its task head on a batch, letting a reducer drop tokens and rows.

    The model's own training flag decides about dropout. A classification head reads [CLS] alone;
    for a head that reads every token, dropped ones are put back in place with the last state they
    had (Drop-and-Restore; Kim and Cho, Length-Adaptive Transformer, ACL 2021, section 3.2).

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
        kept = (layout.tokens[layout.first] == batch.layout.first[layout.rows]).all()
        complaint = f"{type(reducer).__name__} dropped the [CLS] token of a row"
        if kept.is_cuda:
            torch._assert_async(kept, complaint)  # checked there, so that it is not waited for
        elif not kept:
            raise RuntimeError(complaint)
        places = answers.places(layout.rows)
        if by_token:
            assert walked.restored is not None
            logits = family.read_tokens(model, walked.restored[places])
        else:
            logits = family.classify(model, family.pool(model, walked.hidden, layout))
        answers.put(places, logits)
        walked.trace.head_states = len(places)
    assert answers.logits is not None
    return Encoded(batch, answers.logits, walked.trace, walked.memory)


@dataclass(frozen=True, eq=False)
class Walked:
    """What the layers leave for the task head. R rows and T tokens are still alive.

    Attributes:
        hidden: (T, hidden) states leaving the last layer.
        layout: where the live rows lie.
        answers: of the rows that left early, or of their tokens with ``restore``.
        trace: what was alive where.
        memory: the reducer's own record of the pass.
        restored: (T_0, hidden) a state for every original token: of the last layer it went
            through, or the embedding output (Drop-and-Restore); None if not asked for.
    """

    hidden: Tensor
    layout: Layout
    answers: Answers
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
    memory = reducer.start(batch)
    hidden = family.embed(model, batch) if embeddings is None else embeddings
    live = Live(batch, hidden, memory, len(layers), restore)
    for index, layer in enumerate(layers):
        if not live.layout.lengths:
            break
        entered, decision = live.layout, live.ask(reducer.before_layer, index)
        if not decision.skip:
            key_bias = live.of_kept(decision.key_bias, live.compact(decision))
            attending, spare = live.layout, live.spare
            dropout = family.attention_dropout(layer) if reducer.attention_dropout else 0.0
            query, key, value = family.project(layer, live.hidden)
            if rotary is not None:
                query, key = rotary.turn(layer, query, key, attending)
            context, received = attend(
                query,
                key,
                value,
                attending,
                window=family.window(layer, batch, attending),
                received=reducer.wants_received(live.view(index)),
                key_bias=key_bias,
                dropout=dropout if model.training else 0.0,
            )
            decision = live.ask(reducer.after_attention, index, received, key)
            del query, key, value
            live.close_attention(decision, context, partial(family.close_attention, layer))
            del context
            live.hidden = feed_forward(family, layer, live.hidden)
            spares, merged = (spare, live.spare), decision.into is not None
            ran = LayerTrace(index, entered, attending, live.layout, spares, merged)
            live.trace.layers.append(ran)
        # an exit reads what a skipped layer hands on, too
        live.depart(live.ask(reducer.after_layer, index))
    return Walked(live.states, live.layout, live.answers, live.trace, memory, live.restored())


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
