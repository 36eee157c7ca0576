"""The fastest model that loses little is chosen on dev, whatever the test split says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compare.synthetic import record, saved
from tokendrop.compare.results.baseline import Baseline
from tokendrop.compare.results.choosing import Choice, choose
from tokendrop.compare.results.records import OnDev, Record
from tokendrop.errors import UserError

HERE = Path("no predictions here")


def run(method: str, point: str, dev: float, clock: float, **changes: object) -> Record:
    on_dev = OnDev(
        value=dev,
        metrics={"accuracy": dev},
        flops_speedup_unpadded=clock,
        examples=400,
        predictions_file="none.csv",
    )
    # what merges a tenth drops something, whatever the clock says
    shape = record(method, point, clock=clock, flops=max(clock, 1.1))
    return replace(shape, dev=on_dev, **changes)


RUNS = [
    run("dense", "full", 0.80, 1.0),
    run("dense_longer", "tuned", 0.82, 1.0, details={"reference": True}),
    run("power_bert", "1.5x", 0.815, 1.5),
    run("power_bert", "2x", 0.795, 2.0),
    run("adapler", "2x", 0.81, 1.9),
    run("first_k", "k 8", 0.70, 3.0),
    run("merging", "tenth", 0.82, 1.01),
]


def chosen(runs: list[Record], max_loss: float, min_speedup: float = 1.0) -> str:
    return choose(runs, HERE, max_loss, min_speedup).point.name


@pytest.mark.parametrize(
    ("max_loss", "min_speedup", "name"),
    [
        (0.005, 1.0, "power_bert (1.5x)"),  # against the longer trained one, the better on dev
        (0.01, 1.0, "adapler (2x)"),  # exactly a point
        (0.02, 1.0, "adapler (2x)"),
        (0.03, 1.95, "power_bert (2x)"),
        (0.5, 1.0, "first_k (k 8)"),
    ],
)
def test_the_fastest_within_the_loss(max_loss: float, min_speedup: float, name: str) -> None:
    assert chosen(RUNS, max_loss, min_speedup) == name


@given(st.lists(st.floats(0.01, 1), min_size=len(RUNS), max_size=len(RUNS)))
def test_the_test_split_has_no_part_in_it(values: list[float]) -> None:
    others = [replace(run, value=value) for run, value in zip(RUNS, values, strict=True)]
    assert chosen(others, 0.01) == chosen(RUNS, 0.01)


def test_what_the_clock_cannot_tell_from_dense_is_not_faster() -> None:
    with pytest.raises(UserError, match=r"of 1 points .* none is faster .* merging .* 1\.01x"):
        choose([RUNS[0], RUNS[-1]], HERE, 0.5)


def test_what_is_faster_by_less_than_the_noise_is_said_to_be() -> None:
    noisy = run("adapler", "2x", 0.81, 1.4)
    noisy.timing["batch32"]["noise"] = 0.6
    with pytest.raises(UserError, match=r"beyond the noise .* adapler \(2x\) at 1\.40x, ±0\.60"):
        choose([RUNS[0], noisy], HERE, 0.5, 1.2)


def test_what_drops_nothing_is_not_chosen_whatever_the_clock_says() -> None:
    whole = run("truncation", "first_32", 0.82, 1.9, kept_tokens_mean=1.0)
    assert chosen([*RUNS[:3], whole], 0.01) == "power_bert (1.5x)"
    with pytest.raises(UserError, match="of 1 points on reviews none drops anything"):
        choose([RUNS[0], whole], HERE, 0.5)


def test_seeds_decide_together_and_the_best_of_them_is_taken() -> None:
    again = [
        run("dense", "full", 0.82, 1.0, seed=1),
        run("power_bert", "2x", 0.819, 2.0, seed=1),
        run("adapler", "2x", 0.75, 1.9, seed=1),
    ]
    both = [run for run in RUNS if run.method in ("dense", "power_bert", "adapler")]
    found: Choice = choose([*(r for r in both if r.operating_point != "1.5x"), *again], HERE, 0.01)
    assert found.point.name == "power_bert (2x)"
    assert found.loss == pytest.approx(0.81 - 0.807)
    assert found.run.seed == 1


def test_a_mean_over_other_seeds_is_not_held_against_dense(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of the seed in which dense is good, too, a method would seem to gain."""
    dense = [run("dense", "full", 0.9, 1.0, seed=0), run("dense", "full", 0.7, 1.0, seed=1)]
    lucky = run("adapler", "2x", 0.85, 2.0, seed=0)
    whole = [run("power_bert", "1.5x", value, 1.5, seed=s) for s, value in enumerate((0.9, 0.69))]
    assert chosen([*dense, lucky, *whole], 0.01) == "power_bert (1.5x)"
    assert "adapler (2x) cannot be held against dense" in caplog.text
    with pytest.raises(UserError, match=r"none: adapler \(2x\) cannot .* run the comparison again"):
        choose([*dense, lucky], HERE, 0.01)


@pytest.mark.parametrize(
    ("runs", "max_loss", "task", "error"),
    [
        (RUNS, 0.001, None, r"none: of 4 points .* at most 0\.1 points .* power_bert \(1\.5x\)"),
        (RUNS, 0.1, "revews", "did you mean 'reviews'|revews"),
        (RUNS[2:], 0.1, None, "no dense model on reviews"),
        ([*RUNS, run("dense", "full", 0.8, 1.0, task="other")], 0.1, None, "--task"),
        ([*RUNS, replace(RUNS[2], seed=3, dev=None)], 0.1, None, "did not measure on the dev"),
    ],
    ids=["none near", "no such task", "no dense", "several tasks", "older records"],
)
def test_what_cannot_be_chosen_says_why(
    runs: list[Record], max_loss: float, task: str | None, error: str
) -> None:
    with pytest.raises(UserError, match=error):
        choose(runs, HERE, max_loss, task=task)


def test_where_dense_has_learned_nothing_there_is_nothing_to_keep() -> None:
    levels = {"reviews": Baseline(0.9, "TF-IDF with logistic regression")}
    with pytest.raises(UserError, match=r"none: .* no more than TF-IDF .*90\.00 %"):
        choose(RUNS, HERE, 0.1, baselines=levels)


def test_nor_where_chance_explains_what_it_has_learned(tmp_path: Path) -> None:
    dense = [True] * 33 + [False] * 27
    runs = [replace(one, predictions_file=None) for one in RUNS if one.method != "dense_longer"]
    runs[0] = replace(saved(tmp_path, "dense", dense), operating_point="full", dev=runs[0].dev)
    with pytest.raises(UserError, match=r"none: .* 95 % interval .* always .*\(50\.00 %\)"):
        choose(runs, tmp_path, 0.1, baselines={"reviews": Baseline(0.5, "always guessing")})


def test_a_metric_in_single_precision_is_not_above_itself() -> None:
    third = Baseline(1 / 3, "always giving the same answer")
    assert float(np.float32(1 / 3)) > 1 / 3
    assert not third.is_below(float(np.float32(1 / 3)))
    assert third.is_below(1 / 3 + 1e-4)
