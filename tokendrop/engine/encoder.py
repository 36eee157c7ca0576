"""The encoder loop: one pass of an unmodified Hugging Face model over a packed, shrinking batch."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.engine.attention import attend
from tokendrop.engine.casting import cast_once
from tokendrop.engine.compiled import compiling_parts
from tokendrop.engine.graphs import parts_of
from tokendrop.engine.layout import Layout
from tokendrop.engine.live import Answers, Live
from tokendrop.engine.packed import Batch
from tokendrop.engine.parts import Parts
from tokendrop.engine.trace import Encoded, LayerTrace, Trace
from tokendrop.engine.whole import whole_pass
from tokendrop.errors import UserError
from tokendrop.families import family_of
from tokendrop.heads import reads_tokens
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.given import received_of


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
        UserError: a decision of the reducer cannot be done, such as dropping a row's first token
            where the head reads it alone; that is a RuntimeError on a GPU, which is not waited for.
    """
    if embeddings is None and (encoded := whole_pass(model, batch, reducer)) is not None:
        return encoded
    family, by_token = family_of(model), reads_tokens(model)
    walked = walk(model, batch, reducer, embeddings, restore=by_token)
    layout, answers = walked.layout, walked.answers
    if answers.logits is not None and answers.logits.shape[1] != model.config.num_labels:
        raise UserError(
            f"{type(reducer).__name__}.after_layer returned a Decision with an answer of "
            f"{answers.logits.shape[1]} logits, but the task has {model.config.num_labels}: make "
            "as many as shape.classes in build says"
        )
    if layout.lengths and not by_token:  # what was dropped is put back for one that reads it all
        kept = (layout.tokens[layout.first] == batch.layout.first[layout.rows]).all()
        complaint = (
            f"{type(reducer).__name__} dropped the [CLS] token of a row, which the head reads: "
            "keep those where view.layout.is_first is true"
        )
        if kept.is_cuda:
            torch._assert_async(kept, complaint)  # checked there, so that it is not waited for
        elif not kept:
            raise UserError(complaint)
    if layout.lengths:
        places = answers.places(layout.origin)
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
    hidden = family.embed(model, batch) if embeddings is None else embeddings
    linears = (group for layer in family.layers(model) for group in family.linear_groups(layer))
    # a compiler casts weights where it uses them
    casting = nullcontext() if compiling_parts() else cast_once(linears, hidden.device)
    with casting, parts_of(model, family, hidden) as parts:
        return _walk(model, batch, reducer, hidden, parts, restore)


def _walk(
    model: PreTrainedModel,
    batch: Batch,
    reducer: Reducer,
    hidden: Tensor,
    parts: Parts,
    restore: bool,
) -> Walked:
    family = parts.family
    layers, rotary = family.layers(model), family.rotary(model, batch)
    relative = family.relative(model, batch)
    memory = reducer.start(batch)
    method = type(reducer).__name__
    live = Live(batch, hidden, memory, len(layers), restore, parts, method)
    for index, layer in enumerate(layers):
        if not live.layout.lengths:
            break
        entered, decision = live.layout, live.ask(reducer, "before_layer", index)
        if not decision.skip:
            key_bias = live.of_kept(decision.key_bias, live.compact(decision))
            attending, spare = live.layout, live.spare
            dropout = family.attention_dropout(layer) if reducer.attention_dropout else 0.0
            query, key, value = parts.project(layer, live.hidden)
            if rotary is not None:
                query, key = rotary.turn(layer, query, key, attending)
            context, received = attend(
                query,
                key,
                value,
                attending,
                window=family.window(layer, batch, attending),
                relative=relative,
                received=received_of(reducer, live.view(index)),
                key_bias=key_bias,
                dropout=dropout if model.training else 0.0,
            )
            decision = live.ask(reducer, "after_attention", index, received, key)
            del query, key, value
            live.close_attention(decision, context, partial(parts.close_attention, layer))
            del context
            live.hidden = parts.feed_forward(layer, live.hidden)
            spares, merged = (spare, live.spare), decision.into is not None
            ran = LayerTrace(index, entered, attending, live.layout, spares, merged)
            live.trace.layers.append(ran)
        # an exit reads what a skipped layer hands on, too
        live.depart(live.ask(reducer, "after_layer", index))
    states = live.states.clone() if parts.reused else live.states
    restored = live.restored()
    return Walked(states, live.layout, live.answers, live.trace, memory, restored)
