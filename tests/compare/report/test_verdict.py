"""The verdict claims what the table at the same budgets holds, and never ranks ties."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.compare.results.test_budgets import rows, three
from tests.compare.synthetic import grid, record, saved
from tokendrop.compare.report.same_budget import budget_table, matrix
from tokendrop.compare.report.verdict import verdict
from tokendrop.compare.results.analysis import analyse
from tokendrop.compare.results.baseline import Baseline
from tokendrop.compare.results.budgets import AtBudget, Compared, Pair, SameBudget, Standing
from tokendrop.compare.results.points import points
from tokendrop.compare.results.records import Record
from tokendrop.compare.results.resampled import Difference


def said(folder: Path, runs: Sequence[Record]) -> list[str]:
    return verdict(analyse(runs, [], folder).budgets)


def test_what_is_told_apart_and_what_is_not(tmp_path: Path) -> None:
    dense, first, _, third, doubt = said(tmp_path, three(tmp_path))
    assert dense == (
        "On reviews dense reaches 90.00 % accuracy on the 1,066 rows of the test split, always "
        "giving the same answer 50.00 %."
    )
    assert first.startswith(
        "At 1.5x fewer FLOPs on reviews, same cannot be told from dense; bad loses 20.0 points (16"
    )
    assert first.endswith("same beats every other method; slow does not reach it.")
    assert third == "At 3x fewer FLOPs on reviews, bad, same and slow do not reach it."
    assert "test examples alone, as there is one seed" in doubt


def test_several_seeds_are_said(tmp_path: Path) -> None:
    runs = [
        saved(tmp_path, method, rows(share), seed, flops=2)
        for method, share in (("dense", 0.9), ("m", 0.8))
        for seed in (0, 1, 2)
    ]
    doubt = said(tmp_path, runs)[-1]
    assert doubt == (
        "Intervals of 95 % are over test examples and seeds, and are not corrected; tests on the "
        "same resamples, corrected for the number of methods, tell apart, and what they do not is "
        "not ranked."
    )


def test_a_dense_model_that_learned_nothing_stops_it(tmp_path: Path) -> None:
    half = [1, 0] * 50
    runs = [saved(tmp_path, "dense", half), saved(tmp_path, "m", [1] * 100, flops=2)]
    (only,) = said(tmp_path, runs)
    assert only.startswith(
        "On reviews dense reaches 50.00 % accuracy, which is no more than always giving the "
        "same answer (50.00 %)"
    )


def test_a_dense_model_that_chance_explains_is_held_against_none(tmp_path: Path) -> None:
    """54 of 100 is more than 50, and what ties with it need not be."""
    runs = [
        saved(tmp_path, "dense", rows(0.54, 100)),
        saved(tmp_path, "m", rows(0.5, 100), flops=2),
    ]
    (only,) = said(tmp_path, runs)
    assert only.startswith("On reviews dense reaches 54.00 % accuracy on the 1,066 rows")
    assert re.search(
        r"which its 95 % interval \(4\d\.00 % to 6\d\.00 %\) does not tell from always giving the "
        r"same answer \(50\.00 %\).* no method is judged\.$",
        only,
    )
    # with more rows the same share is told from it
    sure = [saved(tmp_path, "dense", rows(0.54, 4000)), saved(tmp_path, "m", rows(0.5, 4000))]
    assert said(tmp_path, sure)[0].endswith("the same answer 50.00 %.")


def test_without_dense_dev_or_answers_it_compares_nothing(tmp_path: Path) -> None:
    (only,) = said(tmp_path, [record("m", "p", flops=2.0)])
    assert only == "On reviews the dense model has not run, so no method is compared with it."
    (_, gone) = said(tmp_path, [replace(run, dev=None) for run in grid()])
    assert "dact_bert, first_k and power_bert did on the dev split" in gone
    assert "compare again into a new folder" in gone
    unknown = said(tmp_path, grid())[1]
    assert "cannot be compared, for want of answers with the seeds of dense" in unknown
    assert "loses" not in unknown


def test_what_drops_nothing_is_said(tmp_path: Path) -> None:
    runs = [record(), record("m", "p", kept_tokens_mean=0.99)]
    assert "m (p) drops nothing on reviews: it keeps 99.0 % of tokens x layers." in said(
        tmp_path, runs
    )


def test_each_task_has_its_own_verdict(tmp_path: Path) -> None:
    text = said(tmp_path, grid() + grid("other"))
    assert sum(sentence.startswith("On ") for sentence in text) == 2


NAMES = ("ada", "ben", "cyd")
GAPS = st.tuples(
    st.sampled_from([-0.2, -0.01, 0.01, 0.2]), st.sampled_from([0.001, 0.049, 0.05, 1])
)


@settings(deadline=None, max_examples=30)
@given(st.lists(GAPS, min_size=3, max_size=3), st.lists(GAPS, min_size=3, max_size=3))
def test_it_never_ranks_ties(
    to_dense: list[tuple[float, float]], between: list[tuple[float, float]]
) -> None:
    def compared(gap: tuple[float, float]) -> Compared:
        value, p_value = gap
        return Compared(Difference(value, value - 0.1, value + 0.1, None, p_value), p_value)

    dense, *others = points([record(), *(record(name, "p", flops=2) for name in NAMES)])
    pairs = [("ada", "ben"), ("ada", "cyd"), ("ben", "cyd")]
    at = AtBudget(
        1.5,
        [Standing(*pair) for pair in zip(others, map(compared, to_dense), strict=True)],
        [],
        [Pair(*pair, compared(gap)) for pair, gap in zip(pairs, between, strict=True)],
    )
    reference = Standing(dense, Compared(None))
    one = SameBudget("reviews", dense, None, [reference], Baseline(0.5, "chance"), [at], [], [])
    text = verdict([one])[1]
    table = budget_table(one).set_index("Method")["vs dense"]
    for name, (value, p_value) in zip(NAMES, to_dense, strict=True):
        verb = "loses" if value < 0 else "gains"
        assert (f"{name} {verb}" in text) == (p_value < 0.05)
        assert table[name].startswith("tie") == (p_value >= 0.05)
    cells = matrix(at).set_index("Method")
    for (mine, other), (_, p_value) in zip(pairs, between, strict=True):
        words = {cells.loc[mine, f"against {other}"].split()[0]}
        words |= {cells.loc[other, f"against {mine}"].split()[0]}
        assert words == ({"tie"} if p_value >= 0.05 else {"beats", "loses"})
    for name in NAMES:
        wins = [
            p_value < 0.05 and (value > 0) == (pair[0] == name)
            for pair, (value, p_value) in zip(pairs, between, strict=True)
            if name in pair
        ]
        assert (f"{name} beats every other" in text) == all(wins)
