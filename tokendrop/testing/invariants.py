"""The checks of the contract that hold whatever is dropped, see :mod:`tokendrop.testing.checks`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from unittest.mock import patch

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tokendrop.engine.linear import linears
from tokendrop.errors import UserError
from tokendrop.families import family_of
from tokendrop.measure.flops import counted_flops, padding_flops, pass_flops
from tokendrop.models.backbones import shape_of
from tokendrop.reducers.base import Decision, Reducer, View
from tokendrop.reducers.chain import Chain
from tokendrop.reducers.stored import stored_reducer
from tokendrop.testing.checks import ROWS, Make, close, require
from tokendrop.testing.tiny import (
    CLASSES,
    LENGTHS,
    MAX_TOKENS,
    built,
    packed,
    run,
    tiny_rows,
)


def batch_invariance(make: Make, model: PreTrainedModel, grouping: str | None = None) -> None:
    """A row has the same answer and keeps the same tokens alone and in any batch.

    Args:
        make: makes the reducer.
        model: the backbone.
        grouping: one of :data:`GROUPINGS`, all of them by default.
    """
    reducer = built(make())
    expected = _by_row(model, reducer, [list(range(len(_MIXED)))])
    for name, groups in GROUPINGS.items():
        if grouping not in (None, name):
            continue
        for row, (logits, *kept) in _by_row(model, reducer, groups).items():
            who = f"a row of {len(_MIXED[row].ids)} tokens, {name},"
            close(logits, expected[row][0], f"{who} has another answer than in its batch")
            require(kept == list(expected[row][1:]), f"{who} keeps other tokens than in its batch")


# beside the usual ones the short lengths that lack there: a share of a row is a token or none
_MIXED = tiny_rows((*LENGTHS, 3, 4, 6, 9))
_ORDER = random.Random(1).sample(range(len(_MIXED)), len(_MIXED))
GROUPINGS = {
    "alone": [[i] for i in _ORDER],
    "shuffled": [_ORDER],
    "regrouped": [_ORDER[:3], _ORDER[3:7], _ORDER[7:]],
}


def _by_row(
    model: PreTrainedModel, reducer: Reducer, groups: list[list[int]]
) -> dict[int, tuple[Tensor, list[int], int]]:
    """Logits, depth of each token, and depth, of each row, run in these groups."""
    results = {}
    for group in groups:
        rows = [_MIXED[i] for i in group]
        encoded = run(model, reducer, rows)
        tokens = encoded.trace.token_depth().split([len(row.ids) for row in rows])
        for place, row in enumerate(group):
            depth = int(encoded.trace.row_depth()[place])
            results[row] = (encoded.logits[place], tokens[place].tolist(), depth)
    return results


def every_row_is_answered(make: Make, model: PreTrainedModel) -> None:
    """Every row has finite logits, whether it left early or not."""
    logits = run(model, built(make()), ROWS).logits
    wanted = (len(ROWS), model.config.num_labels)
    require(logits.shape == wanted, f"logits have shape {tuple(logits.shape)}, not {wanted}")
    require(bool(logits.isfinite().all()), "some logits are not finite")


def trace_shrinks(make: Make, model: PreTrainedModel) -> None:
    """[CLS] stays, dropped tokens do not come back, and tokens keep their row and their order."""
    trace = run(model, built(make()), ROWS).trace
    start = trace.start
    before = set(start.tokens.tolist())
    for layer in trace.layers:
        for layout in (layer.entered, layer.attention, layer.feed_forward):
            at, tokens = f"in layer {layer.index + 1}", layout.tokens.tolist()
            require(set(tokens) <= before, f"{at} a dropped token came back")
            require(len(set(tokens)) == len(tokens), f"{at} a token is there twice")
            kept = torch.equal(layout.tokens[layout.first], start.first[layout.rows])
            require(kept, f"{at} a row has lost its [CLS]")
            # each live token lies in the row that it came from, behind its predecessor
            own = torch.equal(layout.rows[layout.row], start.row[layout.tokens])
            sorted_ = all(x.diff().gt(0).all() for x in layout.tokens.split(layout.lengths))
            require(own and sorted_, f"{at} tokens have changed their row or their order")
            before = set(tokens)


def trace_is_what_ran(make: Make, model: PreTrainedModel) -> None:
    """A layer's first linear map sees what attends, its last one what is fed forward."""
    layers = family_of(model).layers(model)
    owner = {module: layer for layer in layers for module in layer.modules()}
    seen: list[dict[nn.Linear, int]] = []  # rows of each map, layer by layer

    def watched(modules: Sequence[nn.Linear], states: Tensor) -> Sequence[Tensor]:
        first = modules[0]
        # a layer that shares its weights with the one before begins with the same map again
        if not seen or first in seen[-1] or owner[first] is not owner[next(iter(seen[-1]))]:
            seen.append({})
        seen[-1][first] = len(states)
        return linears(modules, states)

    def watched_one(module: nn.Linear, states: Tensor) -> Tensor:
        return watched([module], states)[0]

    with (
        patch("tokendrop.families.bert.linears", watched),
        patch("tokendrop.families.bert.linear", watched_one),
        patch("tokendrop.families.modernbert.linear", watched_one),
        patch("tokendrop.families.mpnet.linears", watched),
        patch("tokendrop.families.mpnet.linear", watched_one),
        patch("tokendrop.engine.graphs.ENABLED", False),
    ):
        trace = run(model, built(make()), ROWS).trace
    computed = [
        (layers.index(owner[next(iter(rows))]), *(list(rows.values())[i] for i in (0, -1)))
        for rows in seen
    ]
    traced = [
        (
            layers.index(layers[layer.index]),  # of shared ones the first
            len(layer.attention.tokens) + layer.spare[0],
            len(layer.feed_forward.tokens) + layer.spare[1],
        )
        for layer in trace.layers
    ]
    require(computed == traced, f"the trace says {traced} but {computed} were computed")
    spares = [rows for layer in trace.layers for rows in layer.spare]
    require(max(spares) < 4, f"{max(spares)} spare rows beside at most 128 tokens")


def dropout(make: Make, model: PreTrainedModel) -> None:
    """Without dropout a pass repeats itself; in training the backbone's dropout acts."""
    reducer = built(make())
    still = run(model, reducer, ROWS).logits
    close(run(model, reducer, ROWS).logits, still, "the same pass again gives another answer")
    try:
        model.train()
        one, other = run(model, reducer, ROWS).logits, run(model, reducer, ROWS).logits
    finally:
        model.eval()
    require(bool(one.isfinite().all()), "some logits are not finite in training")
    differ = not torch.allclose(one, other, atol=1e-3)
    require(differ, "dropout changes nothing in training")


def shown_is_left_alone(make: Make, model: PreTrainedModel) -> None:
    """No moment writes into what it is shown, which is the model's own, or a copy elsewhere."""
    reducer = built(make())

    def watched(moment: str) -> Callable[[View], Decision | None]:
        decide = getattr(reducer, moment)

        def asked(view: View) -> Decision | None:
            shown = {
                "states": view.states,
                "keys": view.keys,
                "received": view.received,
                "batch.input_ids": view.batch.input_ids,
                "batch.positions": view.batch.positions,
                "layout.tokens": view.layout.tokens,
            }
            before = [(name, x, x.clone()) for name, x in shown.items() if x is not None]
            decision = decide(view)
            for name, now, then in before:
                same = torch.equal(now, then)
                require(same, f"{moment} wrote into view.{name}: work on a copy, of .clone()")
            return decision

        return asked

    with ExitStack() as stack:
        for moment in ("before_layer", "after_attention", "after_layer"):
            stack.enter_context(patch.object(reducer, moment, watched(moment)))
        run(model, reducer, ROWS)


def saved_and_loaded(make: Make, model: PreTrainedModel) -> None:
    """Made again from its description and its weights, it gives identical answers."""
    reducer = built(make())
    with torch.no_grad():
        for parameter in reducer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    again = built(stored_reducer(reducer.spec(), trusted=True), seed=1)
    again.load_state_dict(reducer.state_dict())
    before, after = run(model, reducer, ROWS), run(model, again, ROWS)
    same = torch.equal(before.trace.token_depth(), after.trace.token_depth())
    require(same and torch.equal(before.logits, after.logits), "loaded again it answers otherwise")


def flops(make: Make, model: PreTrainedModel) -> None:
    """FLOPs by formula from the trace are those of the operators that ran, within 1 %."""
    reducer = built(make()).to(model.device)
    shape = shape_of(model.config, MAX_TOKENS)
    counted, trace = counted_flops(model, packed(ROWS).to(model.device), reducer)
    formula = pass_flops(trace, reducer, model, shape) + padding_flops(trace, shape)
    right = abs(formula - counted) <= 0.01 * counted
    require(right, f"{formula:,} FLOPs by formula, {counted:,} ran: does flops() count them all?")


class Companion(Reducer):
    """Lets rows of even length leave after layer 1, then drops every other token."""

    def before_layer(self, view: View) -> Decision | None:
        if view.layer != 1:
            return None
        return Decision(keep=view.batch.positions[view.layout.tokens] % 2 == 0)

    def after_layer(self, view: View) -> Decision | None:
        if view.layer > 0:
            return None
        answer = view.cls[:, :CLASSES]
        return Decision(leave=view.batch.layout.sizes[view.layout.rows] % 2 == 0, answer=answer)


def chained(make: Make, model: PreTrainedModel) -> None:
    """The same chained behind a method that drops other tokens and lets rows leave."""
    try:
        batch_invariance(lambda: Chain([Companion(), make()]), model, "alone")
    except (AssertionError, IndexError, RuntimeError, UserError) as error:
        raise AssertionError(
            f"in a chain with another method: {error} (what is kept for each token or row of the "
            "original batch must be read at view.layout.tokens or view.layout.rows)"
        ) from error
