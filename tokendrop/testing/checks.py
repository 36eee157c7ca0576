"""The single checks of the contract.

Each takes a function that makes a reducer, and a model of
:func:`tokendrop.testing.tiny.tiny_model`, and raises an AssertionError that says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from tokendrop.engine.encoder import encode
from tokendrop.reducers.base import Decision, Reducer, StageContext, Step, View
from tokendrop.reducers.given import groups_of, passes_of, stages_of
from tokendrop.testing.tiny import (
    LAYERS,
    built,
    packed,
    padded_forward,
    run,
    tiny_rows,
)

Make = Callable[[], Reducer]
Pair = Callable[[], tuple[Reducer, Reducer]]

CLOSE = 1e-5
NEVER = "(?!)"  # a pattern that no name matches
ROWS = tiny_rows()


def require(held: bool, otherwise: str) -> None:
    """An assertion that ``python -O`` does not remove."""
    if not held:
        raise AssertionError(otherwise)


def close(found: Tensor, expected: Tensor, what: str) -> None:
    torch.testing.assert_close(
        found, expected, atol=CLOSE, rtol=0, msg=lambda details: f"{what}: {details}"
    )


# -- nothing is dropped -------------------------------------------------------------------------


def logits(make: Make, model: PreTrainedModel) -> None:
    """A reducer that drops nothing gives the logits of the unmodified Hugging Face model."""
    logits, _ = padded_forward(model, ROWS)
    close(run(model, built(make()), ROWS).logits, logits, "logits are not Hugging Face's")


def states(make: Make, model: PreTrainedModel) -> None:
    """Every layer's output is that of the unmodified Hugging Face model."""
    reducer = built(make())
    seen: list[tuple[Tensor, Tensor]] = []
    decide = reducer.after_layer

    def after_layer(view: View) -> Decision | None:
        seen.append((view.hidden, view.layout.tokens))
        return decide(view)

    with patch.object(reducer, "after_layer", after_layer):
        run(model, reducer, ROWS)
    _, states = padded_forward(model, ROWS)
    require(len(seen) == LAYERS, f"{len(seen)} of {LAYERS} layers ran although nothing is dropped")
    for layer, ((mine, tokens), theirs) in enumerate(zip(seen, states, strict=True), start=1):
        # a backbone that normalises at the end only lets its states grow, and their rounding
        room = max(1.0, float(theirs.std()))
        close(mine / room, theirs[tokens] / room, f"states after layer {layer} are not HF's")


def whole_trace(make: Make, model: PreTrainedModel) -> None:
    """The trace says that every token went through every layer."""
    trace = run(model, built(make()), ROWS).trace
    wanted = [LAYERS * len(row.ids) for row in ROWS]
    require(
        bool(trace.token_depth().eq(LAYERS).all() and trace.row_depth().eq(LAYERS).all())
        and trace.processed_tokens().tolist() == wanted,
        "tokens or rows are missing from some layer although nothing is dropped",
    )


def rounding(make: Make, model: PreTrainedModel) -> None:
    """Autocast to bf16 hardly changes the logits."""
    reducer = built(make())
    _nearly(run(model, reducer, ROWS).logits, _in_bf16(model, reducer))


def parameters_learn(make: Make, model: PreTrainedModel, *, no_gradient: str = NEVER) -> None:
    """Every parameter is offered to the optimiser and gets a gradient in some stage."""
    reducer = built(make()).train().to(model.device)
    missing = {n for n, _ in reducer.named_parameters() if not re.fullmatch(no_gradient, n)}
    terms, ignored = set[str](), set[str]()
    batch = packed(ROWS).to(model.device)
    labels = batch.labels
    assert labels is not None
    step = Step(
        lambda: encode(model, batch, reducer),
        lambda encoded: F.cross_entropy(encoded.logits, labels),
    )
    lengths = torch.tensor(batch.layout.lengths)
    context = StageContext(
        lengths, steps=10, saliency=lambda: [torch.rand(n) for n in lengths.tolist()]
    )
    for stage in stages_of(reducer):
        reducer.enter(stage, context)
        reducer.zero_grad()
        for losses in passes_of(reducer, step):
            terms |= losses.keys()
            for name, loss in losses.items():
                require(bool(loss.isfinite()), f"loss {name!r} of stage {stage.name!r} is {loss}")
            torch.stack(list(losses.values())).sum().backward()
        taught = {n for n, p in reducer.named_parameters() if p.grad is not None and p.grad.any()}
        groups = groups_of(reducer, stage, model)
        ignored |= {name for group in groups for name in group.ignores}
        offered = {id(p) for group in groups for p in group.parameters.values()}
        left = {n for n, p in reducer.named_parameters() if n in taught and id(p) not in offered}
        require(not left, f"no group of stage {stage.name!r} has {sorted(left)}")
        missing -= taught
        reducer.leave(stage, {})
    model.zero_grad()
    unknown = sorted(ignored - terms)
    require(not unknown, f"groups ignore {unknown}, but the losses are {sorted(terms)}")
    require(not missing, f"these parameters never get a gradient: {sorted(missing)}")


# -- something is dropped -----------------------------------------------------------------------


def something_is_dropped(make: Make, model: PreTrainedModel) -> None:
    """Fewer tokens than all went through all layers."""
    trace = run(model, built(make()), ROWS).trace
    whole = LAYERS * sum(len(row.ids) for row in ROWS)
    require(int(trace.processed_tokens().sum()) < whole, "nothing is dropped")


def bf16(make: Make, model: PreTrainedModel) -> None:
    """It runs under autocast and its answers are finite numbers in fp32."""
    _in_bf16(model, built(make()))


def _in_bf16(model: PreTrainedModel, reducer: Reducer) -> Tensor:
    with torch.autocast(model.device.type, torch.bfloat16):
        logits = run(model, reducer, ROWS).logits
    require(logits.dtype == torch.float32, f"under autocast logits are {logits.dtype}, not fp32")
    require(bool(logits.isfinite().all()), "under autocast some logits are not finite")
    return logits


def half_weights(make: Make, model: PreTrainedModel) -> None:
    """A backbone with weights in bf16 gives finite answers in fp32."""
    _with_half_weights(model, built(make()))


def half_rounding(make: Make, model: PreTrainedModel) -> None:
    """Weights of the backbone in bf16 hardly change the logits."""
    reducer = built(make())
    _nearly(run(model, reducer, ROWS).logits, _with_half_weights(model, reducer))


def _with_half_weights(model: PreTrainedModel, reducer: Reducer) -> Tensor:
    half = deepcopy(model)
    nn.Module.to(half, torch.bfloat16)
    logits = run(half, reducer, ROWS).logits
    require(logits.dtype == torch.float32, f"with bf16 weights logits are {logits.dtype}, not fp32")
    require(bool(logits.isfinite().all()), "with bf16 weights some logits are not finite")
    return logits


def _nearly(exact: Tensor, rounded: Tensor) -> None:
    same = F.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0)
    require(float(same) > 0.99, f"in bf16 the logits are other ones: cosine {float(same):.4f}")


def soft_is_hard(make: Pair, model: PreTrainedModel) -> None:
    """The saturated soft pass of training gives the answers of the hard pass."""
    soft, hard = (run(model, reducer, ROWS).logits for reducer in make())
    close(soft, hard, "the saturated soft pass is not the hard pass")
