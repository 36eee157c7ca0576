"""Triton kernels that rank, count and gather the tokens of the rows of a packed tensor."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _scores(scores, first, at, length, KEEP_FIRST: tl.constexpr):
    """The scores of some places of a row: -inf where there is no number."""
    found = tl.load(scores + first + at, mask=at < length, other=float("-inf"))
    found = tl.where(found == found, found, float("-inf"))
    if KEEP_FIRST:
        found = tl.where(at == 0, float("inf"), found)
    return found


@triton.jit
def rank(
    scores, counts, offsets, tiles, found,
    KEEP_FIRST: tl.constexpr, COUNTED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """How many tokens of their row are ahead of those of a tile, or whether few enough are."""
    tile = tl.program_id(0)
    row = tl.load(tiles + 2 * tile)
    first = tl.load(offsets + row)
    length = tl.load(offsets + row + 1) - first
    at = tl.load(tiles + 2 * tile + 1) + tl.arange(0, BLOCK)
    own = _scores(scores, first, at, length, KEEP_FIRST)
    ahead = tl.zeros([BLOCK], tl.int32)
    for start in range(0, length, BLOCK):
        other = start + tl.arange(0, BLOCK)
        theirs = _scores(scores, first, other, length, KEEP_FIRST)[None, :]
        earlier = (theirs == own[:, None]) & (other[None, :] < at[:, None])
        better = ((theirs > own[:, None]) | earlier) & (other < length)[None, :]
        ahead += tl.sum(better.to(tl.int32), 1)
    if COUNTED:
        tl.store(found + first + at, ahead < tl.load(counts + row), mask=at < length)
    else:
        tl.store(found + first + at, ahead.to(tl.int64), mask=at < length)


@triton.jit
def count(mask, offsets, found, BLOCK: tl.constexpr):
    """The tokens of a row where the mask is true."""
    row = tl.program_id(0)
    first = tl.load(offsets + row)
    length = tl.load(offsets + row + 1) - first
    total = tl.zeros([BLOCK], tl.int32)
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        total += tl.load(mask + first + at, mask=at < length, other=0).to(tl.int32)
    tl.store(found + row, tl.sum(total, 0).to(tl.int64))


@triton.jit
def gather(mask, tokens, offsets, came, begins, index, kept, BLOCK: tl.constexpr):
    """Where the tokens of a new row stood before, and which ones of the batch they are."""
    row = tl.program_id(0)
    source = tl.load(came + row)
    first = tl.load(offsets + source)
    length = tl.load(offsets + source + 1) - first
    place, end = tl.load(begins + row), tl.load(begins + row + 1)
    for start in range(0, length, BLOCK):
        at = start + tl.arange(0, BLOCK)
        stays = tl.load(mask + first + at, mask=at < length, other=0).to(tl.int64)
        places = place + tl.cumsum(stays, 0) - stays
        # no more than were counted, whoever counted them
        stored = (stays != 0) & (places < end)
        tl.store(index + places, first + at, mask=stored)
        tl.store(kept + places, tl.load(tokens + first + at, mask=stored, other=0), mask=stored)
        place += tl.sum(stays, 0)
