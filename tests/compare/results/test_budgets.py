"""The points that stand at a budget are chosen on dev; test is only measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compare.synthetic import record, saved
from tokendrop.compare.report.tables import summary_frame
from tokendrop.compare.results.analysis import analyse
from tokendrop.compare.results.baseline import Baseline, baselines
from tokendrop.compare.results.budgets import SameBudget, budgets_of, chosen
from tokendrop.compare.results.floor import Floor
from tokendrop.compare.results.frame import results_frame
from tokendrop.compare.results.points import dense_point, points
from tokendrop.compare.results.records import Record
from tokendrop.tasks import KINDS


def found(folder: Path, runs: list[Record], floors: list[Floor] | None = None) -> SameBudget:
    (one,) = analyse(runs, floors or [], folder).budgets
    return one


def names(runs: list[Record], speedup: float) -> dict[str, str]:
    stand = chosen(points(runs), speedup)
    return {method: point.operating_point for method, point in stand.items()}


def test_of_the_points_that_reach_a_budget_the_best_on_dev_stands() -> None:
    runs = [
        record("m", "slow", value=0.9, flops=1.4),
        record("m", "good", value=0.8, flops=2.0),
        record("m", "fast", value=0.7, flops=3.5),
        record("n", "only", value=0.6, flops=1.6),
    ]
    assert names(runs, 1.5) == {"m": "good", "n": "only"}
    assert names(runs, 2.0) == {"m": "good"}
    assert names(runs, 3.0) == {"m": "fast"}
    assert names(runs, 4.0) == {}


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(1, 4)), min_size=1, max_size=6),
    st.lists(st.floats(0, 1), min_size=6, max_size=6),
    st.sampled_from([1.5, 2.0, 3.0]),
)
def test_the_choice_never_looks_at_test(
    on_dev: list[tuple[float, float]], on_test: list[float], speedup: float
) -> None:
    def runs(values: list[float]) -> list[Record]:
        made = [
            record("m", f"p{i}", value=values[i], dev_value=dev, flops=flops)
            for i, (dev, flops) in enumerate(on_dev)
        ]
        return [replace(run, flops_speedup_unpadded=1 + values[i]) for i, run in enumerate(made)]

    first = names(runs(on_test), speedup)
    assert first == names(runs(on_test[::-1]), speedup)
    reaching = [dev for dev, flops in on_dev if flops >= 0.99 * speedup]
    if reaching:
        assert on_dev[int(first["m"].removeprefix("p"))][0] == max(reaching)
    else:
        assert not first


def test_seeds_are_averaged_before_the_choice() -> None:
    runs = [record("m", "p", flops=flops, seed=seed) for seed, flops in enumerate((1.4, 1.7))]
    assert names(runs, 1.5) == {"m": "p"}
    assert names(runs, 1.6) == {}


def test_half_of_the_layers_reach_twice_the_speed() -> None:
    """They save a hair less than half, since the head stays; the table shows 2.00x."""
    assert names([record("fewer_layers", "half", flops=1.9989)], 2.0) == {"fewer_layers": "half"}
    assert names([record("fewer_layers", "half", flops=1.97)], 2.0) == {}


def test_a_point_tuned_for_a_budget_may_fall_a_little_short_with_other_seeds() -> None:
    tuned = {"tuning": {"speedups": [2.0], "cost": 7.5}}
    near, far = (record("m", str(f), flops=f, details=tuned) for f in (1.85, 1.7))
    assert names([near, far], 2.0) == {"m": "1.85"}
    assert names([near, far], 1.8) == {"m": "1.85"}
    assert names([replace(near, details={})], 2.0) == {}


def test_budgets_are_those_of_the_tuning(tmp_path: Path) -> None:
    config = {"tune": {"speedups": [2.5, 1.25]}}
    runs = [record("m", "p"), record("n", "q", provenance={"config": config})]
    assert budgets_of(points(runs)) == [1.25, 2.5]
    assert budgets_of(points(runs[:1])) == [1.5, 2.0, 3.0]
    odd = record(provenance={"config": {"tune": "all"}})
    assert budgets_of(points([odd])) == [1.5, 2.0, 3.0]


def test_dense_is_the_reference_that_is_better_on_dev() -> None:
    longer = {"details": {"reference": True}}
    runs = [record(value=0.9, dev_value=0.7), record("longer", value=0.8, dev_value=0.75, **longer)]
    dense = dense_point(points(runs))
    assert dense is not None
    assert dense.method == "longer"
    # without dev values nothing but the name can decide
    dense = dense_point(points([replace(run, dev=None) for run in runs]))
    assert dense is not None
    assert dense.method == "dense"


def test_a_reference_that_lacks_seeds_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    def runs(method: str, share: float, seeds: Sequence[int]) -> list[Record]:
        made = [saved(tmp_path, method, list(rows(share)), seed) for seed in seeds]
        return [replace(run, details={"reference": method != "m"}) for run in made]

    # better than dense with the one seed that has run by now
    found = points(
        [*runs("dense", 0.8, (1, 2)), *runs("longer", 0.9, (1,)), *runs("m", 0.7, (1, 2))]
    )
    dense = dense_point(found)
    assert dense is not None
    assert dense.method == "dense"
    frame = summary_frame([run for point in found for run in point.runs]).set_index("Method")
    assert frame.loc["m", "vs dense"] == pytest.approx(-0.1, abs=0.01)
    assert pd.isna(frame.loc["longer", "vs dense"])


def rows(share: float, examples: int = 400) -> np.ndarray:
    """So many right, spread over both classes."""
    return (np.arange(examples) * 7 % examples) < share * examples


def swapped(right: np.ndarray) -> np.ndarray:
    """As many right, but four other ones."""
    changed = right.copy()
    changed[np.flatnonzero(right)[:4]], changed[np.flatnonzero(~right)[:4]] = False, True
    return changed


def three(folder: Path) -> list[Record]:
    """Dense, one that loses, one that cannot be told from dense, and one that is slow."""
    return [
        saved(folder, "dense", rows(0.9)),
        saved(folder, "bad", rows(0.7), flops=2.2),
        saved(folder, "same", swapped(rows(0.9)), flops=2.1),
        saved(folder, "slow", rows(0.9), flops=1.2),
    ]


def test_who_reaches_a_budget_and_who_beats_whom(tmp_path: Path) -> None:
    (at, at_two, at_three) = found(tmp_path, three(tmp_path)).budgets
    assert [one.point.method for one in at.standings] == ["bad", "same"]
    assert at.too_slow == ["slow"]
    assert [one.to_dense.told_apart for one in at.standings] == [True, False]
    (pair,) = at_two.pairs
    assert pair.compared.told_apart
    mine, other = (pair.seen_from(name).difference for name in ("same", "bad"))
    assert mine is not None
    assert other is not None
    assert mine.value > 0.1
    assert (mine.value, mine.low, mine.high) == (-other.value, -other.high, -other.low)
    assert at.best == "same"
    assert at_three.too_slow == ["bad", "same", "slow"]


def test_what_ties_is_never_the_best(tmp_path: Path) -> None:
    runs = [*three(tmp_path), saved(tmp_path, "twin", rows(0.9), flops=1.9)]
    (at, at_two, _) = found(tmp_path, runs).budgets
    assert at.best is None
    assert at_two.best == "same"
    (pair,) = (p for p in at.pairs if {p.one, p.other} == {"same", "twin"})
    assert not pair.compared.told_apart


def test_p_values_are_corrected_for_the_number_of_methods(tmp_path: Path) -> None:
    few = three(tmp_path)[:2]
    many = [*few, *(saved(tmp_path, f"copy{i}", rows(0.9), flops=2) for i in range(9))]

    def p_value(runs: list[Record]) -> float:
        (at, *_) = found(tmp_path, runs).budgets
        (bad,) = (one for one in at.standings if one.point.method == "bad")
        return bad.to_dense.p_value

    assert p_value(many) == pytest.approx(10 * p_value(few))


def test_without_dev_there_is_no_table(tmp_path: Path) -> None:
    runs = [replace(run, dev=None) for run in three(tmp_path)]
    one = found(tmp_path, runs)
    assert one.budgets == []
    assert one.without_dev == ["bad", "same", "slow"]


def test_a_method_that_keeps_all_is_named_and_a_reference_is_not(tmp_path: Path) -> None:
    kept = {"kept_tokens_mean": 0.985}
    longer = {"details": {"reference": True}}
    runs = [record(**kept), record("longer", **longer, **kept), record("m", "p", **kept)]
    assert [p.name for p in found(tmp_path, runs).keep_all] == ["m (p)"]


def test_the_level_of_one_who_knows_nothing(tmp_path: Path) -> None:
    runs = [saved(tmp_path, "dense", [1, 1, 0, 1, 1])]  # 3 of 5 labels are of the first class
    floor = Floor("reviews", "accuracy", 0.7, {}, 1.0, 0.1)
    assert baselines(runs, [], tmp_path)["reviews"].value == pytest.approx(0.6)
    assert baselines(runs, [floor], tmp_path)["reviews"].value == 0.7
    assert baselines(runs, [replace(floor, metric="f1")], tmp_path)["reviews"].value < 0.7
    assert baselines([record()], [], tmp_path)["reviews"].value == 0
    # of five examples the interval says nothing, and of forty it does
    assert not found(tmp_path, runs, [floor]).dense_learned
    more = [saved(tmp_path, "dense", rows(0.9, 40))]
    assert found(tmp_path, more, [floor]).dense_learned
    assert not found(tmp_path, more, [replace(floor, value=0.9)]).dense_learned
    assert found(tmp_path, [record(value=0.9)], [floor]).dense_learned


def test_the_most_frequent_answer_of_each_kind() -> None:
    tags = pd.DataFrame({"label": ["O O B-A", "O"], "tags": ["O O O", "B-A"], "score": [0.0, 0]})
    assert KINDS["token_classification"].most_frequent("accuracy", tags) == pytest.approx(0.75)
    assert KINDS["token_classification"].most_frequent("entity_f1", tags) == 0
    assert KINDS["regression"].most_frequent("pearson", tags) == 0
    # F1 is of the class that is named last, also where it is the rarer one
    columns = ["label", "negative", "positive", "score"]
    classes = pd.DataFrame([["negative", 1, 0, 1]] * 3 + [["positive", 1, 0, 0]], columns=columns)
    assert KINDS["classification"].most_frequent("accuracy", classes) == pytest.approx(0.75)
    assert KINDS["classification"].most_frequent("f1", classes) == pytest.approx(0.4)
    # a question without an answer, as saved and as read again
    spans = pd.DataFrame({"label": ["Ada", "", "1843", np.nan, "a plan"]})
    for metric in ("f1", "exact_match"):
        assert KINDS["question_answering"].most_frequent(metric, spans) == pytest.approx(0.4)


def test_the_hypervolume_counts_from_the_floor(tmp_path: Path) -> None:
    runs = [
        saved(tmp_path, "dense", rows(0.9)),
        saved(tmp_path, "useless", np.arange(400) % 2 == 0, flops=9),
        saved(tmp_path, "good", rows(0.8), flops=2),
    ]
    frame = results_frame(runs, analyse(runs, [], tmp_path)).set_index("method")
    assert frame.loc["useless", "front_hypervolume"] == 0
    assert frame.loc["good", "front_hypervolume"] == pytest.approx(0.3 * 0.5)


def test_a_metric_below_0_is_told_where_metrics_count_from() -> None:
    assert (
        Baseline(0.0, "knowing nothing")
        .not_below(-0.4)
        .endswith("knowing nothing (0.00 %, from which every metric counts up to 1)")
    )
    assert Baseline(0.6, "TF-IDF").not_below(0.5) == "no more than TF-IDF (60.00 %)"
