"""Trials in batches: within the budget, and after a kill as if there had been none."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from tokendrop.compare.tuning.batches import Price, next_batch
from tokendrop.compare.tuning.outcomes import Measured, Outcome, Trial, around
from tokendrop.compare.tuning.settings import Range, Tuning
from tokendrop.compare.tuning.study import Study
from tokendrop.compare.tuning.trials import Asked
from tokendrop.errors import UserError

RANGES = {"rate": Range(1e-3, 1.0, log=True), "kind": Range(choices=["a", "b"])}


class Killed(Exception):
    """Stands for a kill."""


def price(
    trials: Sequence[Trial], beside: Sequence[Mapping[str, Any]], values: Mapping[str, Any]
) -> Asked:
    """As dear as the dearest before."""
    dearest = max((trial.outcome.cost for trial in trials), default=1.0)
    return Asked(cast(Any, values), {}, None, 1, dearest)


def outcome(asked: Asked) -> Outcome:
    values = cast(Any, asked.cell)
    cost = 0.5 + values["rate"] / 2
    points = [Measured("p", 1 - (values["rate"] - 0.1) ** 2, 1.5 + (values["kind"] == "a"))]
    return Outcome(points, 1, cost, 0.0, asked.estimate, [], 0.0)


def by_kind(
    trials: Sequence[Trial], beside: Sequence[Mapping[str, Any]], values: Mapping[str, Any]
) -> Asked:
    """Half of the trials are three times as dear as the others."""
    return Asked(cast(Any, values), {}, None, 1, 3.0 if values["kind"] == "a" else 1.0)


def tuned(
    path: Path,
    limits: Tuning,
    monkeypatch: Any,
    tells: int | None = None,
    of_price: Price = price,
) -> list[Trial]:
    """All trials; killed after so many were written down."""
    told, tell = count(), Study.tell

    def until(study: Study, *trial: Any) -> None:
        if next(told) == tells:
            raise Killed
        tell(study, *trial)

    monkeypatch.setattr(Study, "tell", until)
    with Study(path, RANGES, {"rate": 0.1, "kind": "a"}, 0, True, {}) as study:
        while not (standing := study.within(limits)).ended:
            batch = next_batch(study, standing, limits, of_price)
            assert len(batch.asked) <= limits.batch
            assert sum(one.estimate for one in batch.asked) <= standing.left + 1e-9
            batch.tell(study, [outcome(asked) for asked in batch.asked])
    monkeypatch.undo()
    return study.within(limits).trials


def test_killed_within_a_batch_it_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Tuning([1.5, 2], cost=7.3, batch=3)
    whole = tuned(tmp_path / "whole", limits, monkeypatch)
    assert len(whole) > 7
    for tells in range(len(whole)):
        path = tmp_path / str(tells)
        with pytest.raises(Killed):
            tuned(path, limits, monkeypatch, tells)
        assert tuned(path, limits, monkeypatch) == whole


def test_a_batch_does_not_know_what_its_trials_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, three = (
        tuned(tmp_path / str(batch), Tuning([1.5, 2], trials=8, batch=batch), monkeypatch)
        for batch in (1, 3)
    )
    assert len(one) == len(three) == 8
    same = [a.values == b.values for a, b in zip(one, three, strict=True)]
    # the first two know nothing anyway; the seventh begins a batch that follows others
    assert all(same[:2])
    assert not all(same)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_draw_that_is_too_dear_does_not_end_the_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    for tenths in range(30, 90, 7):
        limits = Tuning([1.5, 2], cost=tenths / 10, batch=batch)
        trials = tuned(tmp_path / str(tenths), limits, monkeypatch, None, by_kind)
        # what a trial gave back of its estimate is spent too
        assert limits.cost is not None
        assert limits.cost - sum(trial.outcome.cost for trial in trials) < 1


@pytest.mark.parametrize(
    ("batch", "costs"),
    [
        (1, (4.1, 6.3, 5.2, 4.1, 3.0, 6.3)),
        (3, (4.1, 6.3, 5.2, 4.1, 3.0, 6.3)),
        # which cut batches short
        (2, (4.5, 7.2)),
        (4, (4.2, 4.8, 7.0)),
    ],
)
def test_trials_are_those_of_the_cost_whatever_other_costs_left_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, costs: tuple[float, ...]
) -> None:
    before = tmp_path / "before"
    for number, cost in enumerate(costs):
        limits = Tuning([1.5, 2], cost=cost, batch=batch)
        fresh = tuned(tmp_path / f"{number}", limits, monkeypatch, None, by_kind)
        journal = tmp_path / "all"
        assert tuned(journal, limits, monkeypatch, None, by_kind) == fresh
        # also where it was killed among them
        for tells in range(0, len(fresh), 3):
            path = tmp_path / f"{number}-{tells}"
            if before.exists():
                shutil.copy(before, path)
            with suppress(Killed):
                tuned(path, limits, monkeypatch, tells, by_kind)
            assert tuned(path, limits, monkeypatch, None, by_kind) == fresh
        shutil.copy(journal, before)


def sharp(asked: Asked) -> Outcome:
    """Drops next to nothing up to a rate of 0.1, and nearly all from 0.2 on."""
    values = cast(Any, asked.cell)
    share = min(max((math.log(values["rate"]) - math.log(0.1)) / math.log(2), 0), 1)
    points = [Measured("p", 0.9 - 0.2 * share**2, 1 + 4 * share)]
    return Outcome(points, 1, 1.0, 0.0, asked.estimate, [], 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_where_no_trial_comes_near_a_speedup_the_next_lies_between(
    tmp_path: Path, seed: int
) -> None:
    """Twelve trials find all of what lies within a tenth of the range."""
    limits = Tuning([1.5, 2, 3], trials=12, seed=seed)
    with Study(tmp_path / "x", RANGES, {"rate": 1.0, "kind": "a"}, seed, True, {}) as study:
        while not (standing := study.within(limits)).ended:
            drawn = next_batch(study, standing, limits, price)
            drawn.tell(study, [sharp(asked) for asked in drawn.asked])
        trials = study.within(limits).trials
    assert len({str(trial.values) for trial in trials}) == 12
    reached = sorted(point.speedup for trial in trials for point in trial.outcome.points)
    for speedup in limits.speedups:
        assert any(0.99 * speedup <= one < 1.35 * speedup for one in reached), reached


def test_points_of_one_training_have_nothing_between_them(tmp_path: Path) -> None:
    """Nor have those that come near, or with nothing slower or faster."""

    def trial(number: int, *speedups: float) -> Trial:
        points = [Measured("p", 0.5, speedup) for speedup in speedups]
        return Trial(number, {}, Outcome(points, 1, 1.0, 0.0, 1.0, [], 0.0))

    def pairs(trials: list[Trial], *speedups: float) -> list[tuple[int, int]]:
        return [(one.number, other.number) for one, other in around(trials, speedups)]

    assert pairs([trial(1, 1.4, 4.0), trial(2, 1.1), trial(3)], 2) == []
    assert pairs([trial(1, 1.2), trial(2, 2.2)], 2, 3) == []
    assert pairs([trial(1, 2.5), trial(2, 6.0)], 1.5) == []
    assert pairs([trial(1, 1.2), trial(2, 2.5), trial(3, 9.0)], 1.5, 2, 3) == [(2, 3), (1, 2)]
    # of two about as fast the last, which may have been drawn between others
    assert pairs([trial(1, 6.0), trial(2, 1.2), trial(3, 6.1), trial(4, 1.15)], 2) == [(4, 3)]


def test_what_lies_between_two_trials_is_told_of_the_same_operating_point() -> None:
    """A rule that is slow in every trial and one that is fast have nothing between them."""

    def trial(number: int, **speedups: float) -> Trial:
        points = [Measured(name, 0.5, speedup) for name, speedup in speedups.items()]
        return Trial(number, {}, Outcome(points, 1, 1.0, 0.0, 1.0, [], 0.0))

    apart = [trial(1, paper=1.05, tight=3.5), trial(2, paper=1.0, tight=6.0)]
    assert around(apart, [2]) == []
    both = [trial(1, paper=1.05, tight=1.1), trial(2, paper=1.0, tight=6.0)]
    assert around(both, [2]) == [(both[0], both[1])]
    # at no point of a method where another comes near
    assert around([*both, trial(3, paper=2.1, tight=9.0)], [2]) == []


def test_a_journal_goes_on_with_the_weights_that_it_began_with(tmp_path: Path) -> None:
    def opened(name: str, settings: Mapping[str, Any]) -> None:
        Study(tmp_path / name, RANGES, {"rate": 0.1, "kind": "a"}, 0, True, settings).__exit__()

    first, other = {"backbone_fingerprint": "a"}, {"backbone_fingerprint": "b"}
    opened("noted", first)
    opened("noted", first)
    with pytest.raises(UserError, match="tuned with backbone_fingerprint a, and now it is b"):
        opened("noted", other)
    opened("unnoted", {})  # by a version before
    opened("unnoted", first)
