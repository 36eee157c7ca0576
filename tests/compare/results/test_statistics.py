from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.compare.synthetic import record, saved
from tokendrop.compare.report.tables import display_frame
from tokendrop.compare.results import resampled
from tokendrop.compare.results.analysis import Analysis, analyse
from tokendrop.compare.results.bootstrap import estimate, on_resamples
from tokendrop.compare.results.frame import results_frame
from tokendrop.compare.results.records import Record
from tokendrop.errors import UserError
from tokendrop.tasks import KINDS, SequenceClassification


def compared(runs: Sequence[Record], folder: Path) -> resampled.Difference:
    found = analyse(runs, [], folder).statistics["reviews", "m", "p"].difference
    assert found is not None
    return found


def test_the_interval_is_that_of_scipy_on_the_differences(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    dense, mine = draw.random((2, 400)) < [[0.8], [0.7]]
    found = compared([saved(tmp_path, "dense", dense), saved(tmp_path, "m", mine)], tmp_path)
    differences = mine.astype(float) - dense
    expected = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="percentile", rng=draw
    ).confidence_interval
    assert found.value == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.006)
    assert (found.resampled_p < 0.05) == (found.high < 0)


def test_the_interval_of_accuracy_itself_is_about_that_of_a_share(tmp_path: Path) -> None:
    right = np.arange(400) % 5 > 0
    (known,) = analyse([saved(tmp_path, "dense", right)], [], tmp_path).statistics.values()
    assert known.mean == pytest.approx(0.8)
    assert known.interval == pytest.approx((0.76, 0.84), abs=0.005)


def test_examples_that_all_differ_alike_have_an_interval(tmp_path: Path) -> None:
    same = [1, 0, 1, 1]
    found = compared([saved(tmp_path, "dense", same), saved(tmp_path, "m", same)], tmp_path)
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert found.resampled_p == 1
    runs = [saved(tmp_path, "dense", [0] * 4), saved(tmp_path, "m", [1] * 4)]
    found = compared(runs, tmp_path)
    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_seeds_are_resampled_in_pairs(tmp_path: Path) -> None:
    # the seeds are far from each other, but each gains the same over dense
    runs = [saved(tmp_path, "dense", [seed] * 10 + [0] * 10, seed) for seed in (0, 1)]
    runs += [saved(tmp_path, "m", [seed] * 10 + [1] * 10, seed) for seed in (0, 1)]
    known = analyse(runs, [], tmp_path).statistics
    assert known["reviews", "dense", "p"].interval == pytest.approx((0, 0.6), abs=0.11)
    found = compared(runs, tmp_path)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.3, 0.7), abs=0.06)


def test_seeds_that_differ_widen_the_interval(tmp_path: Path) -> None:
    # no seed is told from dense by its examples; one gains 1, one loses 1
    runs = [saved(tmp_path, "dense", [seed] * 20, seed) for seed in (0, 1)]
    runs += [saved(tmp_path, "m", [1 - seed] * 20, seed) for seed in (0, 1)]
    found = compared(runs, tmp_path)
    assert (found.value, found.low, found.high, found.resampled_p) == (0, -1, 1, 1)


def test_a_metric_that_is_no_mean_is_resampled_itself() -> None:
    draw = np.random.default_rng(0)
    labels = draw.normal(size=300)
    frames = [
        pd.DataFrame({"label": labels, "value": labels + noise * draw.normal(size=300)})
        for noise in (0.5, 1.0)
    ]
    metrics = [KINDS["regression"].of_resamples("spearman", frame) for frame in frames]
    (mine, theirs), drawn = on_resamples(metrics, 300, resamples=500)
    found = estimate(np.array([mine - theirs]), drawn[:1] - drawn[1:])
    one, other = (stats.spearmanr(frame["label"], frame["value"]).statistic for frame in frames)
    assert found.value == pytest.approx(one - other)
    assert 0 < found.low < found.value < found.high


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_mcnemar_is_a_sign_test_of_the_examples_that_differ(
    pairs: list[tuple[bool, bool]],
) -> None:
    mine, theirs = np.array(pairs).T
    found = resampled.mcnemar(mine, theirs)
    better, worse = pairs.count((True, False)), pairs.count((False, True))
    tail = stats.binom.cdf(min(better, worse), better + worse, 0.5)
    assert found == pytest.approx(min(1.0, 2 * tail))


def test_several_p_values_are_one_that_holds_however_they_depend() -> None:
    assert resampled.combined_p_value([0.03]) == 0.03
    assert resampled.combined_p_value([0.01, 0.9, 0.02]) == pytest.approx(0.04)
    assert resampled.combined_p_value([0.6, 0.9]) == 1


def test_without_predictions_or_the_same_seeds_nothing_is_compared(tmp_path: Path) -> None:
    dense = saved(tmp_path, "dense", [1, 0, 1, 0])
    gone = record("m", "p", value=0.5, predictions_file="predictions/gone.csv")
    other = saved(tmp_path, "m", [1, 0, 1, 1], seed=1)
    for run in (gone, other, record("m", "p")):
        found = analyse([dense, run], [], tmp_path).statistics
        assert found["reviews", "m", "p"].difference is None


NO_LABELS, NO_ROWS = "example,score\n0,1.0\n", "example,label,score\n"


@pytest.mark.parametrize("damage", ["", "example,label\n0,a\n", "torn", NO_LABELS, NO_ROWS])
def test_predictions_of_another_run_are_named_with_the_cure(tmp_path: Path, damage: str) -> None:
    runs = [saved(tmp_path, "dense", [1, 0] * 9), saved(tmp_path, "m", [1] * 18)]
    path = tmp_path / "predictions" / "m-p-0.csv"
    path.write_text(path.read_text().replace("1.0", "0.0") if damage == "torn" else damage)
    with pytest.raises(UserError, match="run again") as error:
        analyse(runs, [], tmp_path)
    assert str(path) in str(error.value)


def test_tables_hold_the_interval_the_test_and_the_cost(tmp_path: Path) -> None:
    runs = [saved(tmp_path, "dense", [1, 0] * 50), saved(tmp_path, "m", [1, 1] * 50)]
    known = analyse(runs, [], tmp_path).statistics
    shown = display_frame(runs, known).set_index("Method")
    low, high = (100 * getattr(known["reviews", "m", "p"].difference, n) for n in ("low", "high"))
    assert shown.loc["m", "95% interval"] == f"{low:+.2f} to {high:+.2f}"
    assert shown.loc["m", "p"] == "<0.001"
    assert shown.loc["dense", "95% interval"] == ""
    # 6e13 FLOPs of fine-tuning and 3.5e13 more
    assert shown.loc["m", "Train cost"] == "1.6x"
    frame = results_frame(runs, Analysis(known)).set_index("method")
    assert frame.loc["m", "vs_dense"] == pytest.approx(0.5)
    assert frame.loc["m", "train_cost"] == pytest.approx(9.5 / 6)


def test_a_metric_that_its_author_gave_no_resamples_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(SequenceClassification):
        kind = "forgetful"
        metrics = ("balanced_accuracy",)

    monkeypatch.setitem(KINDS, "forgetful", Forgetful)
    own = {"kind": "forgetful", "metric": "balanced_accuracy", "value": 0.4}
    runs = [saved(tmp_path, "dense", [1, 1, 0, 1], **own)]
    with pytest.raises(UserError, match=r"Forgetful\.of_resamples must give the balanced_accuracy"):
        analyse(runs, [], tmp_path)
