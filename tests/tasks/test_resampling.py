"""Metrics of resamples are those of the libraries on the rows that a resample holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef

from tokendrop.tasks import KINDS, QuestionAnswering, TokenClassification
from tokendrop.tasks.resampling import Array


def weights_of(rows: list[int], examples: int) -> Array:
    return np.bincount(rows, minlength=examples).astype(float)[None]


def classes(right: list[int], answered: list[int], number: int) -> pd.DataFrame:
    names = [f"class {place}" for place in range(number)]
    frame = pd.DataFrame(np.eye(number)[answered], columns=names)
    frame.insert(0, "label", [names[place] for place in right])
    frame["score"] = [float(a == b) for a, b in zip(right, answered, strict=True)]
    return frame


@settings(deadline=None)
@given(st.integers(2, 4), st.data())
def test_classes(number: int, data: st.DataObject) -> None:
    one = st.integers(0, number - 1)
    pairs = data.draw(st.lists(st.tuples(one, one), min_size=1, max_size=15))
    rows = data.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=1, max_size=20))
    right, answered = ([pair[side] for pair in pairs] for side in (0, 1))
    drawn = [right[row] for row in rows], [answered[row] for row in rows]
    frame, weights = classes(right, answered, number), weights_of(rows, len(pairs))
    average = {"average": "binary"} if number == 2 else {"average": "macro"}
    expected = {
        "accuracy": np.mean(np.equal(*drawn)),
        "f1": f1_score(*drawn, zero_division=0, **average),
        "matthews": matthews_corrcoef(*drawn),
    }
    for name, value in expected.items():
        found = KINDS["classification"].of_resamples(name, frame)(weights)
        assert found[0] == pytest.approx(value, abs=1e-9)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 2.5, 4.0]), st.sampled_from([0.3, 0.7, 1.1, 3.3])),
        min_size=2,
        max_size=12,
    ),
    st.data(),
)
def test_numbers(pairs: list[tuple[float, float]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=2, max_size=20))
    frame = pd.DataFrame(pairs, columns=["label", "value"])
    drawn = frame.iloc[rows]
    constant = drawn["label"].nunique() < 2 or drawn["value"].nunique() < 2
    for name, library in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        expected = 0.0 if constant else library(drawn["label"], drawn["value"]).statistic
        found = KINDS["regression"].of_resamples(name, frame)(weights_of(rows, len(pairs)))
        assert found[0] == pytest.approx(expected, abs=1e-9)


def test_entities_and_words_are_summed_over_the_sentences_of_a_resample() -> None:
    frame = pd.DataFrame(
        {
            "label": ["B-PER I-PER O", "O B-LOC", "O O"],
            "tags": ["B-PER I-PER O", "B-LOC B-LOC", "O B-PER"],
        }
    )
    f1, accuracy = (TokenClassification.of_resamples(m, frame) for m in ("entity_f1", "accuracy"))
    # hits 1, 1, 0; named 1, 2, 1; wanted 1, 1, 0
    weights = np.array([[1.0, 1, 1], [0, 2, 1], [0, 0, 3]])
    assert f1(weights) == pytest.approx([4 / 6, 4 / 7, 0])
    assert accuracy(weights) == pytest.approx([5 / 7, 3 / 6, 3 / 6])


def test_answers_are_means_of_what_was_saved() -> None:
    frame = pd.DataFrame({"exact_match": [1.0, 0.0], "score": [1.0, 0.5]})
    weights = np.array([[1.0, 3.0]])
    assert QuestionAnswering.of_resamples("f1", frame)(weights) == pytest.approx([0.625])
    assert QuestionAnswering.of_resamples("exact_match", frame)(weights) == pytest.approx([0.25])
