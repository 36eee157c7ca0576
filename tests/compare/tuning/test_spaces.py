"""Spaces and limits: what may be drawn, and what is refused before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compare.grid.test_settings import parsed
from tokendrop.cli import main
from tokendrop.compare.grid.settings import Comparison, entries, grid
from tokendrop.compare.tuning.outcomes import Measured, Outcome, Trial, choose
from tokendrop.compare.tuning.settings import Range, Tuning
from tokendrop.errors import UserError

FILE = """
tasks: [rotten_tomatoes]
random_init: {{num_hidden_layers: 2, hidden_size: 8, num_attention_heads: 2, intermediate_size: 8}}
data: {{train_rows: 64, dev_rows: 32, test_rows: 32}}
loggers: []
fine_tune: {{epochs: 2, learning_rate: 1.0e-3}}
tune: {tune}
methods:
  exits: {method}
"""


def comparison(
    method: str = "{reducer: DactBert, space: {tau: {low: 0.01, high: 0.5, log: true}}}",
    tune: str = "{speedups: [2], cost: 8}",
) -> Comparison:
    return parsed(FILE.format(method=method, tune=tune))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"method": "{reducer: DactBert, space: {taus: {low: 0, high: 1}}}"},
            "unknown argument in the space of exits 'taus': did you mean 'tau'",
        ),
        (
            {
                "method": "{reducer: DactBert, space: {tau: {low: 0, high: 1}}, "
                "operating_points: {wide: {trunk_width: 9}}}"
            },
            "operating point wide changes trunk_width, which needs a training",
        ),
        (
            {
                "method": "{reducer: DactBert, space: {check_every: {low: 1, high: 2}}, "
                "operating_points: {every: {check_every: 1}}}"
            },
            "every and the space both set check_every",
        ),
        (
            {
                "method": "{reducer: LengthAdaptive, space: {epochs: {low: 1, high: 2}}, "
                "search: {budgets: {half: 0.5}}}"
            },
            "search.budgets: a tuned method is searched for tune.speedups",
        ),
        (
            {
                "method": "{reducer: DactBert, space: {tau: {low: 0, high: 1}}, "
                "operating_points: {}}"
            },
            "operating_points is empty",
        ),
        ({"tune": "null"}, "methods.exits.space is not used without tune"),
        ({"method": "{reducer: DactBert}"}, "tune: no method has a space"),
    ],
)
def test_what_cannot_be_tuned_is_refused(settings: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        list(grid(comparison(**settings)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tune.cost", "0.3"], "tune.cost 0.3 does not cover one training of exits, which begins "
         "with 3 epochs where the fine-tuning has 2: use 1.5 or more"),
        (["--methods", "{exits: {reducer: DactBert, space: {check_every: {low: 0, high: 3}}}}"],
         "methods.exits.space.check_every has 0: DactBert.check_every 0 is too small"),
        (["--methods", "{exits: {reducer: DactBert, space: {pooling: {choices: [cls, max]}}}}"],
         "methods.exits.space.pooling has 'max': unknown DactBert.pooling 'max': did you"),
        (["--methods", "{exits: {reducer: DactBert, space: {tau: {low: 0.5, high: 0.1}}}}"],
         "methods.exits.space.tau has low 0.5, high 0.1: give 'choices', or a number"),
        (["--tune", "3"], "tune 3 must be settings by their names, or null"),
    ],
)  # fmt: skip
def test_what_does_not_fit_ends_before_anything_is_trained(
    words: list[str], said: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tuned.yaml"
    config.write_text(
        FILE.format(
            method="{reducer: DactBert, space: {tau: {low: 0.01, high: 0.5, log: true}}}",
            tune="{speedups: [2], cost: 8}",
        )
    )
    out = tmp_path / "out"
    assert main(["compare", "--config", str(config), "--out", str(out), *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert not (out / "stages").exists()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"cost": 0}, "tune.cost 0 is out of range"),
        ({"trials": 0}, "tune.trials 0 is too small"),
        ({"speedups": [2.0]}, "tune has no end"),
        ({"speedups": [1.0], "cost": 2}, "speedups 1 saves nothing"),
        ({"speedups": [2.0, 2.0], "cost": 2}, "names one twice"),
    ],
)
def test_limits_that_mean_nothing_are_refused(limits: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Tuning(**limits).check()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"choices": []}, "space.tau has choices .*: list one or more"),
        ({"choices": [[1, 2]]}, "list one or more"),
        ({"choices": [1], "low": 1}, "leave one of them out"),
        ({"low": 0, "high": 1, "log": True}, "'low' above 0"),
        ({"low": 1}, "give 'choices'"),
    ],
)
def test_ranges_that_hold_nothing_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Range(**given).check("space.tau")


def test_the_argument_of_a_chains_part_is_drawn() -> None:
    (entry,) = entries(
        comparison(
            "{reducer: Chain, arguments: {parts: [{class_path: PowerBert}, "
            "{class_path: DactBert, init_args: {tau: 0.1}}]}, "
            "operating_points: {tight: {parts.1.exit_rule: tight}}, "
            "space: {parts.1.tau: {low: 0.01, high: 1.0}, "
            "parts.0.search_epochs: {low: 1, high: 2}}}"
        )
    )
    space = entry.space()
    # the search of PoWER-BERT has three epochs, which the space has not: the shorter end
    assert space.first == {"parts.1.tau": 0.1, "parts.0.search_epochs": 1}
    assert space.epochs(space.first) == 1 + 3 + 3
    assert space.at({"parts.1.tau": 0.2})["init_args"]["parts"][1]["init_args"]["tau"] == 0.2


def trial(number: int, *points: Measured, cost: float = 1.0) -> Trial:
    return Trial(number, {"tau": number}, Outcome(list(points), 1, cost, 0.0, cost, [], 2.0))


def test_one_point_may_be_the_best_for_several_speedups() -> None:
    trials = [
        trial(1, Measured("paper", 0.8, 1.3), Measured("tight", 0.8, 1.6)),
        trial(2, Measured("paper", 0.7, 3.5)),
        trial(3, Measured("paper", 0.7, 3.2), cost=0.5),
    ]
    points = {"paper": {}, "tight": {"exit_rule": "tight"}}
    slow, fast = choose(trials, [3, 1.25, 2, 1.5], points)
    assert (slow.name, fast.name) == ("1.25x+1.5x", "2x+3x")  # of equals the faster
    assert slow.changes == {"tau": 1, "exit_rule": "tight"}
    assert fast.tuning == {
        "speedups": [2, 3], "trial": 2, "trials": 3, "cost": 2.5, "seconds": 6.0
    }  # fmt: skip
    assert [one.name for one in choose(trials, [], points)] == ["tuned"]


def test_a_method_that_reaches_nothing_stands_with_its_fastest_point() -> None:
    points = {"paper": {}, "tight": {"exit_rule": "tight"}}
    trials = [
        trial(1, Measured("paper", 0.8, 1.1), Measured("tight", 0.7, 1.3)),
        trial(2, Measured("paper", 0.9, 1.2)),
    ]
    (one,) = choose(trials, [2, 3], points)
    assert (one.name, one.changes, one.budget) == (
        "fastest", {"tau": 1, "exit_rule": "tight"}, None
    )  # fmt: skip
    assert one.tuning["speedups"] == []
    (searched,) = choose([trial(1, Measured(None, 0.8, 1.4), Measured(None, 0.9, 1.3))], [2], {})
    assert searched.budget is not None
    assert 1 / 1.4 < searched.budget < 1 / 1.3
    slower = choose([trial(1, Measured(None, 0.8, 0.98))], [2], {})
    assert [one.budget for one in slower] == [1.0]
    assert choose([trial(1)], [2], {}) == []  # no loss of it was a number


def test_a_searched_point_is_searched_again_within_what_it_serves() -> None:
    (one,) = choose([trial(1, Measured(None, 0.8, 2.1))], [1.5, 2], {})
    assert one.name == "1.5x+2x"
    assert one.budget is not None
    assert 1 / 2.1 < 1 / 2 < one.budget < 1 / 1.97
