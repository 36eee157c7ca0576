"""The kernels that rank, count and gather, run by Triton's interpreter, do what torch does."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tokendrop.engine import ragged
from tokendrop.engine.by_row import row_rank, top_k
from tokendrop.engine.layout import Layout

pytest.importorskip("triton", reason="Triton has packages for Linux only")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # by Triton's interpreter
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []

LENGTHS = st.builds(
    lambda short, long: short + long,
    st.lists(st.integers(1, 70), min_size=1, max_size=4),
    st.sampled_from([[], [64], [256], [300]]),
)
SEEDS = st.integers(0, 99)


def with_ties(tokens: int, seed: int) -> Tensor:
    """Scores of which many are equal, and some infinite or no number."""
    torch.manual_seed(seed)
    scores = torch.randint(0, 9, (tokens,)).float()
    odd = torch.tensor([torch.nan, torch.inf, -torch.inf])[torch.randint(0, 3, (tokens,))]
    return torch.where(torch.rand(tokens) < 0.1, odd, scores).to(DEVICE)


@settings(max_examples=30)
@given(LENGTHS, SEEDS, st.booleans())
def test_tokens_are_ranked_as_by_a_stable_sort(
    lengths: list[int], seed: int, keep_first: bool
) -> None:
    layout, scores = Layout.of(lengths, DEVICE), with_ties(sum(lengths), seed)
    counts = [int(torch.randint(1, n + 3, ())) for n in lengths]

    def found() -> tuple[Tensor, Tensor]:
        return row_rank(scores, layout), top_k(scores, counts, layout, keep_first=keep_first)

    with patch.object(ragged, "DEVICES", set()):
        expected = found()
    with patch.object(ragged, "DEVICES", {DEVICE}):
        assert all(map(torch.equal, found(), expected))


@settings(max_examples=30)
@given(LENGTHS, SEEDS, st.sampled_from([0.0, 0.1, 0.6, 1.0]), st.integers(0, 3), st.booleans())
def test_tokens_are_counted_and_laid_as_without_kernels(
    lengths: list[int], seed: int, share: float, spare: int, counted: bool
) -> None:
    torch.manual_seed(seed)
    before = Layout.of(lengths, DEVICE)
    # of a layout that has lost tokens already, rows in another order
    _, layout = before.keep(before.is_first | (torch.rand(sum(lengths)) < 0.7).to(DEVICE))
    mask = (torch.rand(len(layout.tokens)) < share).to(DEVICE)
    counts = layout.counts(mask) if counted else None
    with patch.object(ragged, "DEVICES", set()):
        assert layout.counts(mask) == [int(row.sum()) for row in mask.split(layout.lengths)]
        index, expected = layout.keep(mask, counts, lambda tokens: spare)
    with patch.object(ragged, "DEVICES", {DEVICE}):
        found, kept = layout.keep(mask, counts, lambda tokens: spare)
    assert (kept.lengths, kept.origin) == (expected.lengths, expected.origin)
    assert torch.equal(kept.tokens, expected.tokens)
    assert torch.equal(found[: sum(kept.lengths)], index[: sum(kept.lengths)])
    assert len(found) == len(index)
    assert (found < len(mask)).all()
    for name in ("offsets", "row", "is_first"):
        assert torch.equal(getattr(kept, name), getattr(expected, name))


def test_a_column_of_a_matrix_is_ranked_and_counted_as_itself() -> None:
    layout = Layout.of([5, 4, 70], DEVICE)
    torch.manual_seed(0)
    scores, masks = torch.rand(79, 3).to(DEVICE), (torch.rand(79, 2) < 0.5).to(DEVICE)
    every = torch.ones(1, dtype=torch.bool).to(DEVICE).expand(79)
    with patch.object(ragged, "DEVICES", {DEVICE}):
        assert torch.equal(row_rank(scores[:, 1], layout), row_rank(scores[:, 1].clone(), layout))
        assert layout.counts(masks[:, 1]) == layout.counts(masks[:, 1].clone())
        assert layout.counts(every) == [5, 4, 70]
        for mask in (masks[:, 1], every):
            _, kept = layout.keep(mask)
            assert torch.equal(kept.tokens, layout.keep(mask.clone())[1].tokens)


def test_counts_that_are_too_small_cut_a_row_and_no_other() -> None:
    layout = Layout.of([4, 3], DEVICE)
    with patch.object(ragged, "DEVICES", {DEVICE}):
        _, kept = layout.keep(torch.ones(7, dtype=torch.bool, device=DEVICE), [2, 3])
    assert kept.tokens.tolist() == [0, 1, 4, 5, 6]
