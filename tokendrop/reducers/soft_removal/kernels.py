"""Triton kernels of AdapLeR's soft removal: a layer's, and its gradient's, in a launch each.

By torch's operators it takes some thirty launches, and twice as many on the way back, which AdapLeR
goes twice. A program serves one row, whose sums run in the order of the row alone.
"""

from __future__ import annotations

import triton
import triton.language as tl

from tokendrop.engine import by_row
from tokendrop.reducers import soft_removal

GONE = tl.constexpr(soft_removal.GONE)
FLOOR = tl.constexpr(soft_removal.FLOOR)
HIGHEST = tl.constexpr(by_row.HIGHEST)


@triton.jit
def _row(offsets):
    """First token and length of the program's row."""
    row = tl.program_id(0)
    first = tl.load(offsets + row)
    return first, tl.load(offsets + row + 1) - first


@triton.jit
def _token(logits, mask, first, at, length):
    """Logit and mask of some places of a row; beyond its end they weigh nothing."""
    logit = tl.load(logits + first + at, mask=at < length, other=float("-inf"))
    return logit, tl.load(mask + first + at, mask=at < length, other=0.0)


@triton.jit
def _sides(contribution, threshold, sharpness):
    """The two lines whose lower one is the edit, and by how much each rises."""
    margin = tl.div_rn(0.1, sharpness)
    steep = tl.div_rn(sharpness, threshold)
    room = 1 - threshold + 1e-7
    below = steep * (contribution - threshold) - margin
    above = tl.div_rn((contribution - 1) * margin, room)
    return below, above, steep, tl.div_rn(margin, room)


@triton.jit
def soften(
    logits, mask, bias, eta, sharpness, offsets, contributions, next_mask, next_bias, of_rows,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """What the tokens of a row contribute, how far they survive, and the bias they have as keys.

    ``of_rows`` keeps the highest logit, the sum of the exponentials and that of what can be edited.
    """
    first, length = _row(offsets)
    highest = tl.full([BLOCK], float("-inf"), tl.float32)
    editable = tl.zeros([BLOCK], tl.float32)
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        logit, survives = _token(logits, mask, first, at, length)
        highest = tl.maximum(highest, tl.where(survives > GONE, logit, float("-inf")))
        editable += tl.where(at > 0, survives, 0.0)
    top, left = tl.max(highest, 0), tl.sum(editable, 0)
    summed = tl.zeros([BLOCK], tl.float32)
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        logit, survives = _token(logits, mask, first, at, length)
        summed += tl.exp(tl.minimum(logit - top, HIGHEST)) * survives
    total = tl.sum(summed, 0)
    row, rows = tl.program_id(0), tl.num_programs(0)
    tl.store(of_rows + row, top)
    tl.store(of_rows + rows + row, total)
    tl.store(of_rows + 2 * rows + row, left)
    steepness = tl.load(sharpness)
    threshold = tl.div_rn(tl.load(eta), 1 + left)
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < length
        logit, survives = _token(logits, mask, first, at, length)
        weighted = tl.exp(tl.minimum(logit - top, HIGHEST)) * survives
        contribution = tl.div_rn(weighted, total)
        below, above, _, _ = _sides(contribution, threshold, steepness)
        edit = tl.minimum(tl.maximum(tl.minimum(below, above), FLOOR), 0.0)
        change = edit * tl.where(at > 0, survives, 0.0)
        after = tl.where(survives > GONE, survives * tl.exp(change), survives)
        held = tl.load(bias + first + at, mask=inside, other=0.0)
        tl.store(contributions + first + at, contribution, mask=inside)
        tl.store(next_mask + first + at, after, mask=inside)
        tl.store(next_bias + first + at, tl.maximum(held + change, FLOOR), mask=inside)


@triton.jit
def _backward_through_the_edit(
    mask, bias, contributions, to_contributions, to_next_mask, to_next_bias, first, at, length,
    threshold, sharpness,
    CONTRIBUTIONS: tl.constexpr, MASK: tl.constexpr, BIAS: tl.constexpr,
):  # fmt: skip
    """For some places of a row: what it contributes and the gradient of that, the gradients of the
    mask and the bias but for what goes through the sums of the row, and of the threshold.
    """
    inside = at < length
    survives = tl.load(mask + first + at, mask=inside, other=0.0)
    contribution = tl.load(contributions + first + at, mask=inside, other=0.0)
    below, above, steep, rises = _sides(contribution, threshold, sharpness)
    lower = tl.minimum(below, above)
    edit = tl.minimum(tl.maximum(lower, FLOOR), 0.0)
    editable = tl.where(at > 0, survives, 0.0)
    change = edit * editable
    to_change, to_mask = tl.zeros_like(change), tl.zeros_like(change)
    to_bias = tl.zeros_like(change)
    if MASK:
        given = tl.load(to_next_mask + first + at, mask=inside, other=0.0)
        shrinks = tl.exp(change)
        to_mask += tl.where(survives > GONE, given * shrinks, given)
        to_change += tl.where(survives > GONE, given * survives * shrinks, 0.0)
    if BIAS:
        held = tl.load(bias + first + at, mask=inside, other=0.0)
        given = tl.load(to_next_bias + first + at, mask=inside, other=0.0)
        to_bias = tl.where(held + change >= FLOOR, given, 0.0)
        to_change += to_bias
    to_mask += tl.where(at > 0, to_change * edit, 0.0)
    passes = (lower >= FLOOR) & (lower <= 0)
    to_edit = tl.where(passes, to_change * editable, 0.0)
    # as torch's minimum does where both are equal
    to_below = tl.where(below < above, to_edit, tl.where(below == above, 0.5 * to_edit, 0.0))
    to_above = to_edit - to_below
    to_contribution = to_below * steep + to_above * rises
    if CONTRIBUTIONS:
        to_contribution += tl.load(to_contributions + first + at, mask=inside, other=0.0)
    room = 1 - threshold + 1e-7
    to_threshold = tl.div_rn(to_above * rises * (contribution - 1), room)
    to_threshold -= tl.div_rn(to_below * steep * contribution, threshold)
    return contribution, to_contribution, to_mask, to_bias, to_threshold


@triton.jit
def soften_backward(
    logits, mask, bias, eta, theta, sharpness, offsets, contributions, of_rows, to_contributions,
    to_next_mask, to_next_bias, to_logits, to_mask, to_bias, to_thresholds,
    THETA: tl.constexpr, CONTRIBUTIONS: tl.constexpr, MASK: tl.constexpr, BIAS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The gradients of a row; ``to_thresholds`` gets its part of those of eta and theta."""
    first, length = _row(offsets)
    row, rows = tl.program_id(0), tl.num_programs(0)
    top, total = tl.load(of_rows + row), tl.load(of_rows + rows + row)
    left = 1 + tl.load(of_rows + 2 * rows + row)
    steepness = tl.load(sharpness)
    threshold = tl.div_rn(tl.load(eta), left)
    shared = tl.zeros([BLOCK], tl.float32)
    moves = tl.zeros([BLOCK], tl.float32)
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        contribution, to_contribution, _, _, to_threshold = _backward_through_the_edit(
            mask, bias, contributions, to_contributions, to_next_mask, to_next_bias, first, at,
            length, threshold, steepness, CONTRIBUTIONS, MASK, BIAS,
        )  # fmt: skip
        inside = at < length
        shared += tl.where(inside, contribution * to_contribution, 0.0)
        moves += tl.where(inside, to_threshold, 0.0)
    mean, moved = tl.sum(shared, 0), tl.sum(moves, 0)
    to_eta = tl.div_rn(moved, left)
    to_left = -to_eta * threshold
    tl.store(to_thresholds + row, to_eta)
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < length
        _, to_contribution, of_mask, of_bias, _ = _backward_through_the_edit(
            mask, bias, contributions, to_contributions, to_next_mask, to_next_bias, first, at,
            length, threshold, steepness, CONTRIBUTIONS, MASK, BIAS,
        )  # fmt: skip
        logit, survives = _token(logits, mask, first, at, length)
        ahead = logit - top
        exponential = tl.exp(tl.minimum(ahead, HIGHEST))
        to_weighted = tl.div_rn(to_contribution - mean, total)
        of_mask += to_weighted * exponential + tl.where(at > 0, to_left, 0.0)
        of_logit = tl.where(ahead <= HIGHEST, to_weighted * exponential * survives, 0.0)
        tl.store(to_logits + first + at, of_logit, mask=inside)
        tl.store(to_mask + first + at, of_mask, mask=inside)
        tl.store(to_bias + first + at, of_bias, mask=inside)
        if THETA:
            # through a multiplier of the first token's logit that stays 1
            to_theta = tl.div_rn(of_logit, tl.load(theta) + 1e-7)
            at_first = to_thresholds + rows + row + tl.zeros([BLOCK], tl.int64)
            tl.store(at_first, to_theta, mask=(at == 0) & inside)
