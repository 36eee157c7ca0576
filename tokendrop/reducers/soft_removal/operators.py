"""Soft removal as an operator with its gradient, one launch each."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tokendrop.engine.ragged.define import define
from tokendrop.reducers.soft_removal import kernels

STEP = 256  # tokens of a row that a program looks at together


def _soften(
    logits: Tensor, mask: Tensor, bias: Tensor, eta: Tensor, sharpness: Tensor, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    found = _fake(logits, mask, bias, eta, sharpness, offsets)
    kernels.soften[(len(offsets) - 1,)](
        logits, mask, bias, eta, sharpness, offsets, *found, BLOCK=STEP
    )
    return found


def _fake(logits: Tensor, *others: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = len(others[-1]) - 1
    contributions, mask, bias = (torch.empty_like(logits) for _ in range(3))
    return contributions, mask, bias, logits.new_empty(3, rows)


def _soften_backward(
    logits: Tensor,
    mask: Tensor,
    bias: Tensor,
    eta: Tensor,
    theta: Tensor | None,
    sharpness: Tensor,
    offsets: Tensor,
    contributions: Tensor,
    of_rows: Tensor,
    to_contributions: Tensor | None,
    to_next_mask: Tensor | None,
    to_next_bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    known = (sharpness, offsets, contributions, of_rows)
    found = _fake_backward(logits, mask, bias, eta, theta, *known)
    # what is not there is not read
    gradients = (to_contributions, to_next_mask, to_next_bias)
    there = (logits if x is None else x.contiguous() for x in gradients)
    kernels.soften_backward[(len(offsets) - 1,)](
        logits, mask, bias, eta, eta if theta is None else theta, *known, *there, *found,
        THETA=theta is not None, CONTRIBUTIONS=to_contributions is not None,
        MASK=to_next_mask is not None, BIAS=to_next_bias is not None, BLOCK=STEP,
    )  # fmt: skip
    return found


def _fake_backward(
    logits: Tensor, mask: Tensor, bias: Tensor, eta: Tensor, theta: Tensor | None, *others: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = len(others[1]) - 1
    to_logits, to_mask, to_bias = (torch.empty_like(logits) for _ in range(3))
    return to_logits, to_mask, to_bias, logits.new_empty(1 if theta is None else 2, rows)


_OF_TOKENS = "Tensor logits, Tensor mask, Tensor bias, Tensor eta"
_FOUR = "(Tensor, Tensor, Tensor, Tensor)"
define(f"soften({_OF_TOKENS}, Tensor sharpness, Tensor offsets) -> {_FOUR}", _soften, _fake)
define(
    f"soften_backward({_OF_TOKENS}, Tensor? theta, Tensor sharpness, Tensor offsets, "
    "Tensor contributions, Tensor of_rows, Tensor? to_contributions, Tensor? to_next_mask, "
    f"Tensor? to_next_bias) -> {_FOUR}",
    _soften_backward,
    _fake_backward,
)


class _Soften(torch.autograd.Function):
    """The operator with its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        mask: Tensor,
        bias: Tensor,
        eta: Tensor,
        theta: Tensor | None,
        sharpness: Tensor,
        offsets: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        contributions, after, biases, of_rows = torch.ops.tokendrop.soften(
            logits, mask, bias, eta, sharpness, offsets
        )
        ctx.save_for_backward(
            logits, mask, bias, eta, theta, sharpness, offsets, contributions, of_rows
        )
        ctx.set_materialize_grads(False)
        return contributions, after, biases

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        *to_tokens, of_rows = torch.ops.tokendrop.soften_backward(*ctx.saved_tensors, *gradients)
        to_eta, *to_theta = of_rows.sum(1).unbind()
        return *to_tokens, to_eta, *(to_theta or [None]), None, None


def soften_rows(*given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What :func:`tokendrop.reducers.soft_removal.soften.soften` says, of tensors in fp32 that lie
    in one piece, with ``layout.offsets`` in the place of the layout.
    """
    found: tuple[Tensor, Tensor, Tensor] = _Soften.apply(*given)  # type: ignore[no-untyped-call]
    return found
