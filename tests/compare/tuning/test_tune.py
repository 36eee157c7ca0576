"""Tuned comparisons: what is chosen and what it costs, interrupted, blind to the test labels."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from tests.compare.grid.test_settings import parsed
from tests.compare.tuning.conftest import TUNED, Finished, trials_of
from tokendrop.compare.grid.arguments import Arguments
from tokendrop.compare.grid.continuing import begin_or_continue
from tokendrop.compare.grid.data import make_data
from tokendrop.compare.grid.evaluate import evaluate
from tokendrop.compare.grid.method import Method
from tokendrop.compare.grid.settings import Comparison, grid
from tokendrop.compare.results.records import record_path
from tokendrop.compare.tuning import trials as trying
from tokendrop.compare.tuning import tune as module
from tokendrop.compare.tuning.outcomes import Measured, Outcome, Trial
from tokendrop.compare.tuning.progress import Progress
from tokendrop.compare.tuning.settings import Range, Tuning
from tokendrop.compare.tuning.tune import tune
from tokendrop.data import TextData
from tokendrop.errors import Diverged, UserError


@pytest.fixture(scope="module")
def data() -> TextData:
    """The data of the one task."""
    comparison = parsed(TUNED)
    return make_data(next(module.entries(comparison)).data, comparison.backbone)


def of_methods(*names: str) -> Comparison:
    """The comparison with some of its methods, which are tuned as they are beside the others."""
    comparison = parsed(TUNED)
    return replace(comparison, methods={name: comparison.methods[name] for name in names})


def choice(comparison: Comparison, out: Path, data: TextData) -> Any:
    """What tuning chooses, without the time that it took."""
    chosen = tune(comparison, out, lambda task, settings: data)
    return {
        key: [replace(one, tuning=one.tuning | {"seconds": 0}) for one in points]
        for key, points in chosen.items()
    }


def records(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    read = (json.loads(path.read_text()) for path in (out / "runs").glob("*.json"))
    return {(record["method"], record["operating_point"]): record for record in read}


def test_every_speedup_has_the_best_trial_that_reaches_it(tuned: Finished) -> None:
    found, trials = records(tuned.out), trials_of(tuned.out)
    assert ("dense", "default") in found
    served = {
        method: sorted(
            speedup
            for (of, _), record in found.items()
            if of == method
            for speedup in record["details"]["tuning"]["speedups"]
        )
        for method in trials
    }
    assert served == {
        "longer": [],
        "layers": [1.2, 1.5, 2.0],
        "merging": [1.2, 1.5],
        "length_adaptive": [1.2, 1.5],
    }
    for (method, name), record in found.items():
        if method == "dense":
            continue
        points = [point for *_, outcome in trials[method] for point in outcome["points"]]
        for speedup in record["details"]["tuning"]["speedups"] or [0]:
            reach = [point["value"] for point in points if point["speedup"] >= 0.99 * speedup]
            # on all of dev, with the very model of the trial
            assert record["dev"]["value"] == pytest.approx(max(reach))
            assert record["dev"]["flops_speedup_unpadded"] >= 0.989 * speedup
        assert name == (
            "+".join(f"{s:g}x" for s in record["details"]["tuning"]["speedups"]) or "tuned"
        )
    assert "merging on rotten_tomatoes does not reach 2x: its fastest trial has" in tuned.said
    assert set(pd.read_csv(tuned.out / "results.csv").method) == {"dense", *trials}


def test_what_a_trial_has_trained_is_what_is_run(tuned: Finished) -> None:
    trained = {path.name for path in (tuned.out / "stages").iterdir()}
    counts = {
        kind: sum(name.startswith(kind) for name in trained) for kind in ("longer", "shallow")
    }
    trials = trials_of(tuned.out)
    assert counts == {"longer": len(trials["longer"]), "shallow": len(trials["layers"])}


def test_all_methods_have_the_same_budget(tuned: Finished) -> None:
    for method, record in ((key[0], record) for key, record in records(tuned.out).items()):
        if method != "dense":
            outcomes = [outcome for *_, outcome in trials_of(tuned.out)[method]]
            costs = [outcome["training"] + outcome["measuring"] for outcome in outcomes]
            assert record["details"]["tuning"]["cost"] == pytest.approx(sum(costs), abs=1e-6)
            assert record["details"]["tuning"]["trials"] == len(outcomes)
            # a trial began only where the rest covered what it was to cost
            for number, outcome in enumerate(outcomes):
                assert outcome["estimate"] <= 2.2 - sum(costs[:number]) + 1e-9
    assert len(trials_of(tuned.out)["merging"]) == 2  # all that its space holds


def test_it_says_how_far_it_is(tuned: Finished) -> None:
    lines = [line for line in tuned.said.splitlines() if line.startswith("layers on rotten")]
    assert lines[0].startswith("layers on rotten_tomatoes: trial 1 (learning_rate=")
    assert re.search(
        r"% of the budget left, (less than a minute|about [\dhmin ]+); best so far: 1\.2x 0\.",
        lines[0],
    )


@pytest.mark.parametrize(
    ("limits", "done", "left", "said"),
    [
        (Tuning(cost=4.0), [600.0], 3.0, "75% of the budget left, about 30 min; best"),
        # the rest of a budget is not always enough for another trial, and all of it may be spent
        (Tuning(cost=4.0), [600.0, 3000.0], 1.0, "25% of the budget left, about 20 min; best"),
        (Tuning(cost=4.0), [600.0, 600.0], 0.0, "0% of the budget left; best"),
        (Tuning(trials=3), [600.0], math.inf, "67% of the budget left, about 20 min; best"),
        # how many of them run side by side is not known
        (Tuning(trials=4, batch=2), [600.0], math.inf, "75% of the budget left; best"),
    ],
)
def test_it_says_how_long_the_rest_of_a_budget_takes(
    limits: Tuning, done: list[float], left: float, said: str
) -> None:
    console = Console(file=StringIO())
    trials = [
        Trial(
            number, {"share": 0.1}, Outcome([Measured(None, 0.8, 1.7)], 3, 1.0, 0.0, 1.0, [], took)
        )
        for number, took in enumerate(done, start=1)
    ]
    Progress("merging on reviews", "accuracy", limits, [1.5], console).tried(trials, left)
    assert isinstance(console.file, StringIO)
    assert said in console.file.getvalue()


def test_the_first_trial_is_the_methods_own_setting(tuned: Finished) -> None:
    first = {method: trials[0][0] for method, trials in trials_of(tuned.out).items()}
    assert first["length_adaptive"] == {"learning_rate": 1e-2}
    # its own rate lies below the space
    assert first["longer"] == {"learning_rate": 1e-4, "start": "previous"}


class Killed(Exception):
    """Stands for a kill: nothing after it is written."""


def test_killed_anywhere_it_ends_as_if_it_had_not_been(
    tuned: Finished, data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = of_methods("layers", "length_adaptive")
    # nothing is trained twice, which is what this test spares itself too
    shutil.copytree(tuned.out / "stages", tmp_path / "stages")
    run_trial, calls = module.run_trial, 0

    def killed_often(*arguments: Any) -> Outcome:
        nonlocal calls
        calls += 1
        if calls % 3 == 1:
            raise Killed  # before anything is trained
        outcome = run_trial(*arguments)
        if calls % 3 == 2:
            raise Killed  # after it was trained and measured
        return outcome

    monkeypatch.setattr(module, "run_trial", killed_often)
    found = None
    while found is None:
        try:
            found = choice(comparison, tmp_path, data)
        except Killed:
            journal = max((tmp_path / "tuning").glob("*.journal"), key=lambda p: p.stat().st_mtime)
            with journal.open("a") as file:
                file.write('{"op_code":8,"worker_id":"a torn')
    monkeypatch.undo()
    expected, trials = trials_of(tuned.out), trials_of(tmp_path)
    assert calls == 3 * sum(map(len, trials.values()))
    assert trials == {name: expected[name] for name in comparison.methods}
    assert found == choice(comparison, tuned.out, data)


def test_no_test_label_has_a_part_in_it(tuned: Finished, data: TextData, tmp_path: Path) -> None:
    comparison = of_methods("layers", "merging", "length_adaptive")
    before = data.splits["test"]
    scrambled = copy.copy(data)
    assert data._prepared is not None
    splits = data.splits | {"test": replace(before, labels=[1 - label for label in before.labels])}
    scrambled._prepared = replace(data._prepared, splits=splits)
    assert scrambled.fingerprint() != data.fingerprint()
    found = choice(comparison, tmp_path, scrambled)
    expected = trials_of(tuned.out)
    assert trials_of(tmp_path) == {name: expected[name] for name in comparison.methods}
    assert found == choice(comparison, tuned.out, data)


def test_a_larger_cost_goes_on_and_a_smaller_one_changes_nothing(
    tuned: Finished, data: TextData, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(tuned.out, out)
    comparison = of_methods("layers", "merging")
    larger = replace(comparison, tune=Tuning([1.2, 1.5, 2], cost=2.8))
    chosen = tune(larger, out, lambda task, settings: data)
    more, before = trials_of(out)["layers"], trials_of(tuned.out)["layers"]
    assert len(more) > len(before)
    assert more[: len(before)] == before
    # what an earlier choice has run does not stand beside the new one
    cells = {record_path(out, **asdict(cell.run)): cell for cell in grid(larger, chosen)}
    stale = "within other limits or .+ gone: set tune back to what it was, or delete (.+) to m"
    with pytest.raises(UserError, match=stale) as refused:
        begin_or_continue(larger, out, cells)
    # all that is to be deleted is named at once
    told = re.search(stale, str(refused.value))
    assert told is not None
    for pattern in map(Path, told[1].split()):
        for record in pattern.parent.glob(pattern.name):
            record.unlink()
    begin_or_continue(larger, out, cells)
    journals = {path: path.read_bytes() for path in (out / "tuning").glob("*.journal")}
    assert choice(comparison, out, data) == choice(comparison, tuned.out, data)
    assert {path: path.read_bytes() for path in journals} == journals


def test_the_runs_of_a_choice_stay_where_its_journals_were_lost(
    tuned: Finished, data: TextData, tmp_path: Path
) -> None:
    """The same trials, made anew in another time, choose the same."""
    out = tmp_path / "out"
    shutil.copytree(tuned.out, out)
    shutil.rmtree(out / "tuning")
    comparison = of_methods("layers", "merging")
    chosen = tune(comparison, out, lambda task, settings: data)
    cells = {record_path(out, **asdict(cell.run)): cell for cell in grid(comparison, chosen)}
    begin_or_continue(comparison, out, cells)
    assert all(path.is_file() for path in cells)


def test_scores_of_the_training_rows_are_paid_for_once(data: TextData, tmp_path: Path) -> None:
    space = {"length_weight": Range(choices=[1e-3, 1e-2])}
    arguments = Arguments({"epochs": 1, "init": "finetuned"})
    methods = {"adapler": Method("AdapLeR", arguments, space=space)}
    tune(
        replace(parsed(TUNED), methods=methods, tune=Tuning(trials=2)),
        tmp_path,
        lambda task, settings: data,
    )
    first, second = (outcome for *_, outcome in trials_of(tmp_path)["adapler"])
    assert (first["scores"], second["scores"]) == (["saliency"], [])
    # two passes over the training rows, beside the four that a step of this method takes
    assert second["training"] < 0.75 * first["training"]


def test_a_point_that_no_epoch_was_evaluated_at_is_measured(data: TextData, tmp_path: Path) -> None:
    """The epochs of a patience exit are those of its last layer, whatever its patience is."""
    method = Method(
        "baselines.PatienceExit",
        Arguments({"epochs": 1, "learning_rate": 1e-3}),
        operating_points={"p2": {"patience": 2}},
        space={"pooling": Range(choices=["mean"])},
    )
    comparison = parsed(TUNED.replace("num_hidden_layers: 2", "num_hidden_layers: 5"))
    tune(
        replace(comparison, methods={"patience": method}, tune=Tuning(trials=1)),
        tmp_path,
        lambda task, settings: data,
    )
    ((*_, outcome),) = trials_of(tmp_path)["patience"]
    (point,) = outcome["points"]
    assert point["speedup"] > 1.05
    assert outcome["measuring"] > 0


def test_a_trial_that_diverges_does_not_end_the_others(
    tuned: Finished, data: TextData, tmp_path: Path
) -> None:
    comparison = of_methods("longer")
    method = replace(
        comparison.methods["longer"],
        arguments=Arguments({"epochs": 1, "learning_rate": 1e30}),
        space={"learning_rate": Range(choices=[1e-3, 1e30])},
    )
    shutil.copytree(tuned.out / "stages", tmp_path / "stages")
    (point,) = tune(
        replace(comparison, methods={"longer": method}, tune=Tuning(cost=2)),
        tmp_path,
        lambda task, settings: data,
    )["rotten_tomatoes", "longer"]
    first, second = (outcome for *_, outcome in trials_of(tmp_path)["longer"])
    assert first["points"] == []
    assert first["training"] == pytest.approx(second["training"])
    assert (point.changes, point.tuning["trial"]) == ({"learning_rate": 1e-3}, 2)


def test_a_trial_whose_answers_are_no_numbers_is_one_that_diverged(
    tuned: Finished, data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = of_methods("merging")
    shutil.copytree(tuned.out / "stages", tmp_path / "stages")
    measured: list[object] = []

    def spoilt_once(*given: Any) -> Any:
        measured.append(given)
        if len(measured) == 1:
            raise Diverged("the model's numbers are not finite")
        return evaluate(*given)

    monkeypatch.setattr(trying, "evaluate", spoilt_once)
    choice(comparison, tmp_path, data)
    first, *others = (outcome for *_, outcome in trials_of(tmp_path)["merging"])
    assert first["points"] == []
    assert all(other["points"] for other in others)
    assert others


def test_a_start_that_diverges_is_no_trial(data: TextData, tmp_path: Path) -> None:
    comparison = of_methods("longer")
    assert comparison.fine_tune is not None
    spoilt = replace(comparison.fine_tune, learning_rate=1e30)
    with pytest.raises(Diverged):
        choice(replace(comparison, fine_tune=spoilt), tmp_path, data)
    assert trials_of(tmp_path) == {"longer": []}


def test_with_patience_a_trial_is_priced_by_the_epochs_that_ran(
    data: TextData, tmp_path: Path
) -> None:
    comparison = of_methods("longer")
    method = replace(
        comparison.methods["longer"],
        arguments=Arguments({"epochs": 6, "learning_rate": 1e-9}),  # nothing gets better
        space={"learning_rate": Range(choices=[1e-9])},
    )
    limits = Tuning(trials=1)
    choice(replace(comparison, methods={"longer": method}, tune=limits, patience=1), tmp_path, data)
    ((_, _, outcome),) = trials_of(tmp_path)["longer"]
    assert outcome["epochs"] == 2


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"seeds": [2]}, "was tuned with seed 1, and now it is 2: set it back"),
        (
            {"methods": {"layers": {"learning_rate": Range(1e-3, 1e-2, log=True)}}},
            "was tuned with space.learning_rate.high 0.03, and now it is 0.01",
        ),
    ],
)
def test_other_settings_are_not_mixed_in(
    tuned: Finished, data: TextData, changes: dict[str, Any], error: str
) -> None:
    comparison = of_methods("layers")
    if "methods" in changes:
        method = replace(comparison.methods["layers"], space=changes["methods"]["layers"])
        changes = {"methods": {"layers": method}}
    with pytest.raises(UserError, match=error):
        choice(replace(comparison, **changes), tuned.out, data)


def test_a_speedup_that_no_method_reaches_does_not_keep_the_others_from_running(
    tuned: Finished, data: TextData, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison, folder = of_methods("layers", "merging"), tuned.out
    assert comparison.tune is not None

    def names(*speedups: float) -> list[list[str]]:
        tune = replace(comparison.tune, speedups=list(speedups))
        chosen = choice(replace(comparison, tune=tune), folder, data)
        return [[point.name for point in points] for points in chosen.values()]

    assert names(1.5, 9) == [["1.5x"], ["1.5x"]]
    said = capsys.readouterr().err
    assert "layers on rotten_tomatoes does not reach 9x: its fastest trial has 2.00x" in said
    assert "merging on rotten_tomatoes does not reach 9x" in said
    # what there is of a method is in the tables even so
    assert names(9) == [["fastest"], ["fastest"]]


@pytest.mark.parametrize(
    ("before", "now", "error"),
    [
        ('{"op_code":0', "not a journal", "is not a journal of trials"),
        # its values would otherwise become arguments
        (
            r'(params|distributions)":{"learning_rate"',
            r'\1":{"epochs"',
            "a trial that is not of this",
        ),
    ],
)
def test_a_journal_of_something_else_is_refused(
    tuned: Finished, data: TextData, tmp_path: Path, before: str, now: str, error: str
) -> None:
    shutil.copytree(tuned.out / "tuning", tmp_path / "tuning")
    (journal,) = (tmp_path / "tuning").glob("*layers.journal")
    theirs = re.sub(r',"sum":"\w+"', "", journal.read_text())
    journal.write_text(re.sub(before, now, theirs))
    with pytest.raises(UserError, match=f"{error}.*: delete it to tune anew"):
        choice(of_methods("layers"), tmp_path, data)
