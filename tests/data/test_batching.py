from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokendrop.data.batching import Batches, consecutive, shuffled_by_length
from tokendrop.data.split import Split

LENGTHS = st.lists(st.integers(2, 40), min_size=1, max_size=300)


@given(LENGTHS, st.integers(1, 20), st.none() | st.integers(1, 200), st.integers(0, 3))
def test_every_row_once_per_epoch(lengths, batch_size, budget, epoch):
    batches = shuffled_by_length(lengths, batch_size, budget, 0, epoch)
    assert sorted(chain.from_iterable(batches)) == list(range(len(lengths)))
    assert all(batches)


@given(LENGTHS, st.integers(1, 200))
def test_token_budget_is_kept_and_used(lengths, budget):
    batches = shuffled_by_length(lengths, 1, budget, 0, 0)
    tokens = [sum(lengths[row] for row in batch) for batch in batches]
    for batch, count in zip(batches, tokens, strict=True):
        assert count <= budget or len(batch) == 1
    # greedy: any two neighbours were over the budget together
    assert len(batches) <= 2 * sum(lengths) // budget + 1


@given(LENGTHS, st.integers(1, 20))
def test_only_one_batch_is_short(lengths, batch_size):
    sizes = sorted(map(len, shuffled_by_length(lengths, batch_size, None, 0, 0)))
    assert set(sizes[1:]) <= {batch_size}


def test_order_follows_from_seed_and_epoch():
    lengths = [2 + i % 7 for i in range(100)]

    def order(seed, epoch):
        return shuffled_by_length(lengths, 8, None, seed, epoch)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_rows_of_a_training_batch_have_similar_lengths():
    lengths = [2 + (i * 37) % 60 for i in range(800)]
    spreads = [
        max(lengths[row] for row in batch) - min(lengths[row] for row in batch)
        for batch in shuffled_by_length(lengths, 16, None, 0, 0)
    ]
    assert max(spreads) <= 3


def test_batch_is_sorted_by_length_and_knows_its_examples():
    ids = [[1, 5, 5, 2], [1, 2], [1, 6, 2], [1, 7, 2]]
    split = Split([("x",)] * 4, ids, [[0] * len(row) for row in ids], [0, 1, 0, 1], 0)
    batch = Batches(split, consecutive(4, 4))[0]
    assert batch.layout.lengths == (2, 3, 3, 4)
    assert batch.examples.tolist() == [1, 2, 3, 0]
    assert batch.labels.tolist() == [1, 0, 1, 0]
    assert batch.input_ids.tolist() == [1, 2, 1, 6, 2, 1, 7, 2, 1, 5, 5, 2]


@pytest.mark.parametrize(("rows", "sizes"), [(7, [3, 3, 1]), (6, [3, 3]), (1, [1])])
def test_consecutive_batches(rows, sizes):
    batches = consecutive(rows, 3)
    assert [len(batch) for batch in batches] == sizes
    assert list(chain.from_iterable(batches)) == list(range(rows))
