"""Agreement with rationales, worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokendrop.measure.rationale import agreement, faithfulness, over_rows, span_matches, spans


def mask(text: str) -> np.ndarray:
    return np.array([character == "x" for character in text])


def test_a_row_worked_by_hand() -> None:
    # 3 of 10 marked; of 4 kept ones 2 are marked, so 2 of the 7 others are kept
    human, kept = mask("..xxx....."), mask("...xx..x.x")
    found = agreement(human, kept, kept.astype(float))
    assert found == pytest.approx(
        {
            "false_positive_rate": 2 / 7,
            "precision": 1 / 2,
            "recall": 2 / 3,
            "token_f1": 4 / 7,
            # precision 1/2 up to a recall of 2/3, then all tokens at once: 3/10
            "auprc": 2 / 3 * 1 / 2 + 1 / 3 * 3 / 10,
        }
    )


def test_scores_are_judged_by_their_order() -> None:
    human = mask("x.x.")
    # marked tokens come first and third: precision 1 and 2/3
    found = agreement(human, mask("xxxx"), np.array([9.0, 5.0, 3.0, 1.0]))
    assert found["auprc"] == pytest.approx((1 + 2 / 3) / 2)
    assert (found["false_positive_rate"], found["recall"]) == (1, 1)


def test_a_method_that_keeps_all_alike_knows_only_the_base_rate() -> None:
    found = agreement(mask("x..."), mask("xxxx"), np.full(4, 6.0))
    assert found["auprc"] == found["precision"] == pytest.approx(1 / 4)


def test_nothing_kept_and_everything_marked() -> None:
    nothing = agreement(mask("xx.."), mask("...."), np.zeros(4))
    assert (nothing["false_positive_rate"], nothing["precision"], nothing["token_f1"]) == (0, 0, 0)
    assert math.isnan(agreement(mask("xx"), mask("x."), np.zeros(2))["false_positive_rate"])


def test_spans_match_from_half_of_their_union() -> None:
    human = mask("xxxx...xx.....x")
    # 2 of 4 shared: a match; 1 of 3: none; 1 of 1 but not there: none
    kept = mask(".xx.....xx..x..")
    assert spans(human) == [(0, 4), (7, 9), (14, 15)]
    assert span_matches(human, kept) == {"iou_precision": 1 / 3, "iou_recall": 1 / 3}
    nothing = span_matches(human, mask("." * 15))
    assert math.isnan(nothing["iou_precision"])
    assert nothing["iou_recall"] == 0


def test_probabilities_of_the_predicted_class() -> None:
    # the second class is predicted, whatever becomes likely later
    found = faithfulness([0.2, 0.7, 0.1], [0.8, 0.1, 0.1], [0.1, 0.9, 0.0])
    assert found == pytest.approx({"comprehensiveness": 0.6, "sufficiency": -0.2})


def test_means_leave_out_what_is_undefined() -> None:
    one = {"recall": 1.0, "iou_precision": 1.0, "iou_recall": 0.5}
    other = {"recall": 0.5, "iou_precision": math.nan, "iou_recall": 0.0}
    # ERASER: F1 of the means, here of 1 and 1/4
    assert over_rows([one, other]) == pytest.approx({"recall": 0.75, "iou_f1": 2 * 0.25 / 1.25})


@given(st.lists(st.booleans(), min_size=1, max_size=30).filter(any))
def test_perfect_agreement(marks: list[bool]) -> None:
    human = np.array(marks)
    found = agreement(human, human, human.astype(float))
    assert found["precision"] == found["recall"] == found["token_f1"] == found["auprc"] == 1
    assert found["false_positive_rate"] == 0 or human.all()
    assert over_rows([span_matches(human, human)])["iou_f1"] == 1
