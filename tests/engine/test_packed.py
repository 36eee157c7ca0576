"""Packed operations against plain Python, row by row."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tokendrop.engine.blocks import WASTE
from tokendrop.engine.by_row import row_max, row_rank, row_softmax, row_sum, top_k
from tokendrop.engine.facts import FACTS, send_all
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError

# few different values, so that ties are common
SCORES = st.sampled_from([-3.0, -0.5, 0.0, 0.0, 0.25, 0.25, 1.0, 4.0])


def rows_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[Any]]]:
    return st.lists(st.lists(values, min_size=1, max_size=7), min_size=1, max_size=6)


def laid(rows: list[list[Any]]) -> tuple[Tensor, Layout]:
    return torch.tensor([x for row in rows for x in row]), Layout.of([len(row) for row in rows])


def by_row(values: Tensor, layout: Layout) -> list[list[Any]]:
    return [part.tolist() for part in values.split(layout.lengths)]


@pytest.mark.parametrize(
    ("act", "complaint"),
    [
        (lambda x, y: row_sum(x[:3], y), r"row_sum was given a tensor of shape \[3\]: .* 5 live"),
        (lambda x, y: row_max(x[:3], y), r"row_max was given a tensor of shape \[3\]"),
        (lambda x, y: row_softmax(x[:, None], y), r"row_softmax .* \[5, 1\]: .* one number for"),
        (lambda x, y: row_softmax(x, y, x[:2]), r"row_softmax was given a tensor of shape \[2\]"),
        (lambda x, y: row_rank(x.tolist(), y), "row_rank was given a list: give a tensor"),
        (lambda x, y: top_k(x[:3], [1, 1], y), r"top_k was given a tensor of shape \[3\]"),
        (lambda x, y: top_k(x, [1], y), r"top_k was given the counts \[1\]: .* the 2 live rows"),
        (lambda x, y: top_k(x, [1.5, 2.0], y), r"counts \[1.5, 2.0\]: give a list with a whole"),
        (lambda x, y: top_k(x, 2, y), "counts 2: give a list"),
    ],
)
def test_values_of_another_size_are_refused(act: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        act(*laid([[1.0, 2.0], [3.0, 4.0, 5.0]]))


@given(rows_of(st.integers(-5, 5)))
def test_row_sum_and_row_max(rows: list[list[int]]) -> None:
    values, layout = laid(rows)
    assert row_sum(values, layout).tolist() == [sum(row) for row in rows]
    assert row_max(values.float(), layout).tolist() == [max(row) for row in rows]
    both = torch.stack([values, -values], 1).float()
    assert row_max(both, layout).tolist() == [[max(row), -min(row)] for row in rows]
    vectors = torch.stack([values, 2 * values], 1)
    assert row_sum(vectors, layout).tolist() == [[sum(row), 2 * sum(row)] for row in rows]
    for kind in (torch.int64, torch.int8, torch.float16):
        assert row_max(values.to(kind), layout).tolist() == [max(row) for row in rows]


@given(rows_of(st.booleans()))
def test_row_sum_counts_booleans_and_row_max_finds_one(rows: list[list[bool]]) -> None:
    assert row_sum(*laid(rows)).tolist() == [sum(row) for row in rows]
    assert row_max(*laid(rows)).tolist() == [any(row) for row in rows]


@given(rows_of(st.floats(-1e4, 1e4, width=32)))
def test_row_softmax(rows: list[list[float]]) -> None:
    values, layout = laid(rows)
    values.requires_grad_()
    weights = torch.arange(1.0, len(values) + 1).sin()
    result = row_softmax(values, layout)
    expected = torch.cat([row.softmax(0) for row in values.split(layout.lengths)])
    torch.testing.assert_close(result, expected)
    got, wanted = (torch.autograd.grad((x * weights).sum(), values)[0] for x in (result, expected))
    torch.testing.assert_close(got, wanted)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.sampled_from([0, 50, 1200]))
def test_blocks_give_every_token_a_slot_of_its_row(lengths: list[int], waste: int) -> None:
    with patch.dict(WASTE, cpu=waste):
        layout = Layout.of(lengths)
        blocks = layout.blocks
    widths = [width for rows, width in blocks.shapes for _ in range(rows)]
    assert len(widths) == len(lengths)
    assert all(width >= n for width, n in zip(widths, lengths, strict=True))
    for rows, _ in blocks.shapes:
        own, lengths = lengths[:rows], lengths[rows:]
        # one call each more, and no padding, would cost as much
        assert rows * max(own) ** 2 - sum(n * n for n in own) <= waste * (rows - 1)
    if blocks.source is None:
        assert widths == list(layout.lengths)
        return
    assert blocks.real is not None
    assert blocks.slots is not None
    assert blocks.source[blocks.slots].tolist() == layout.tokens.tolist()
    assert blocks.real.nonzero().flatten().tolist() == blocks.slots.tolist()
    starts = [sum(widths[:row]) for row in range(len(widths))]
    rows_of_slots = [starts[row] for row in layout.row.tolist()]
    places = [token - layout.first[row] for token, row in enumerate(layout.row.tolist())]
    wanted = [start + int(place) for start, place in zip(rows_of_slots, places, strict=True)]
    assert blocks.slots.tolist() == wanted


WEIGHT = st.sampled_from([0.0, 1e-4, 0.3, 1.0])


@given(rows_of(st.tuples(st.floats(-300, 300, width=32), WEIGHT)))
def test_weighted_row_softmax_keeps_the_mass_with_those_that_have_weight(
    rows: list[list[tuple[float, float]]],
) -> None:
    """However far above them a token without weight stands."""
    rows = [[(row[0][0], 1.0), *row[1:]] for row in rows]  # as [CLS], which always counts
    scores, layout = laid([[score for score, _ in row] for row in rows])
    weight, _ = laid([[weight for _, weight in row] for row in rows])
    exact = (scores.double() + weight.double().log()).split(layout.lengths)
    expected = torch.cat([row.softmax(0) for row in exact]).float()
    torch.testing.assert_close(row_softmax(scores, layout, weight), expected, atol=1e-5, rtol=1e-4)


def test_row_softmax_is_exact_in_half_precision() -> None:
    layout = Layout.of([2000, 3])
    result = row_softmax(torch.zeros(2003, dtype=torch.bfloat16), layout)
    assert result.dtype == torch.float32
    torch.testing.assert_close(row_sum(result, layout), torch.ones(2), atol=1e-4, rtol=0)


@given(rows_of(SCORES))
def test_row_rank_puts_the_earlier_of_equals_first(rows: list[list[float]]) -> None:
    expected = []
    for row in rows:
        ranking = sorted(range(len(row)), key=lambda j, row=row: (-row[j], j))
        expected.append([ranking.index(j) for j in range(len(row))])
    scores, layout = laid(rows)
    assert by_row(row_rank(scores, layout), layout) == expected


def test_row_rank_tells_large_close_scores_apart() -> None:
    """As bf16 these would be equal."""
    scores = torch.tensor([100.0, 100.001, 100.002])
    with torch.autocast("cpu", torch.bfloat16):
        assert row_rank(scores, Layout.of([3])).tolist() == [2, 1, 0]


@given(rows_of(SCORES), st.data(), st.booleans())
def test_top_k(rows: list[list[float]], data: st.DataObject, keep_first: bool) -> None:
    counts = data.draw(st.lists(st.integers(0, 9), min_size=len(rows), max_size=len(rows)))
    expected = []
    for row, count in zip(rows, counts, strict=True):
        first = [0] if keep_first else []
        rest = [j for j in range(len(row)) if j not in first]
        best = first + sorted(rest, key=lambda j, row=row: (-row[j], j))
        best = best[: max(count, len(first))]
        expected.append([j in best for j in range(len(row))])
    scores, layout = laid(rows)
    mask = top_k(scores, counts, layout, keep_first=keep_first)
    assert by_row(mask, layout) == expected


@given(rows_of(st.booleans()))
def test_keep(rows: list[list[bool]]) -> None:
    mask, layout = laid(rows)
    numbers = torch.arange(len(mask)).split(layout.lengths)
    survivors = {
        r: [int(n) for n, stays in zip(numbers[r], row, strict=True) if stays]
        for r, row in enumerate(rows)
        if any(row)
    }
    index, after = layout.keep(mask)
    assert torch.equal(index, after.tokens)
    assert dict(zip(after.rows.tolist(), by_row(index, after), strict=True)) == survivors
    assert list(after.lengths) == sorted(after.lengths)
    assert after.offsets.tolist() == [sum(after.lengths[:i]) for i in range(len(after.lengths) + 1)]
    assert after.row.tolist() == [i for i, n in enumerate(after.lengths) for _ in range(n)]
    assert after.first.tolist() == after.is_first.nonzero().flatten().tolist()


@given(rows_of(st.tuples(st.booleans(), st.booleans())))
def test_keeping_twice_is_keeping_what_both_keep(rows: list[list[tuple[bool, bool]]]) -> None:
    masks, layout = laid(rows)
    first, once = layout.keep(masks[:, 0])
    second, twice = once.keep(masks[first, 1])
    _, direct = layout.keep(masks.all(1))
    assert torch.equal(first[second], twice.tokens)
    assert set(twice.tokens.tolist()) == set(direct.tokens.tolist())
    assert sorted(twice.rows.tolist()) == sorted(direct.rows.tolist())
    assert torch.equal(layout.row[twice.tokens], twice.rows[twice.row])


def test_keep_nothing_leaves_no_rows() -> None:
    index, after = Layout.of([2, 3]).keep(torch.zeros(5, dtype=torch.bool))
    assert len(index) == 0
    assert after.lengths == ()


def test_a_row_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Layout.of([3, 0])


def example() -> Batch:
    return Batch.pack([[5, 6, 7], [8, 9]], [[0, 0, 1], [0, 0]], labels=[1, 0], examples=[4, 2])


def test_pack() -> None:
    batch = example()
    assert len(batch) == 2
    assert batch.input_ids.tolist() == [5, 6, 7, 8, 9]
    assert batch.token_type_ids.tolist() == [0, 0, 1, 0, 0]
    assert batch.positions.tolist() == [0, 1, 2, 0, 1]
    assert Batch.pack([[1, 2]]).token_type_ids.tolist() == [0, 0]
    assert Batch.pack([[1, 2]]).labels is None


def tensors(batch: Batch) -> list[Tensor]:
    layout = batch.layout
    assert batch.labels is not None
    assert batch.examples is not None
    return [
        *(batch.input_ids, batch.token_type_ids, batch.positions, batch.labels, batch.examples),
        *(layout.rows, layout.tokens, layout.offsets, layout.row, layout.is_first),
    ]


def test_to_moves_everything() -> None:
    batch = example()
    _ = batch.layout.row  # computed once on the old device
    moved = batch.to("meta")
    assert {x.device.type for x in tensors(moved)} == {"meta"}
    assert moved.layout.lengths == (3, 2)
    assert Batch.pack([[1]]).to("meta").labels is None


@pytest.mark.gpu
def test_pin_memory() -> None:
    pinned = example().pin_memory()
    assert pinned.input_ids.is_pinned()
    assert pinned.layout.tokens.is_pinned()
    for mine, theirs in zip(tensors(pinned.to("cuda")), tensors(example()), strict=True):
        assert torch.equal(mine.cpu(), theirs)


@given(st.lists(st.integers(1, 200), max_size=6))
def test_facts_sent_in_one_piece_are_those_sent_alone(lengths: list[int]) -> None:
    together = send_all(lengths, torch.device("cpu"))
    assert together.keys() == FACTS.keys()
    for name, fact in FACTS.items():
        alone = torch.from_numpy(fact(lengths))
        assert together[name].dtype == alone.dtype
        assert torch.equal(together[name], alone)


def test_spare_rows_lie_behind_the_tokens_that_stay() -> None:
    layout = Layout.of([3, 2])
    mask = torch.tensor([True, True, True, False, True])
    plain, after = layout.keep(mask)
    index, again = layout.keep(mask, spare_rows=lambda tokens: 8 - tokens)
    assert len(index) == 8
    assert torch.equal(index[:4], plain)
    assert (again.lengths, again.tokens.tolist()) == (after.lengths, after.tokens.tolist())
    assert index.max() < 5
