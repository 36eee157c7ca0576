"""Trials in batches: within the budget, and after a kill as if there had been none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest

from tokendrop.compare.tuning.batches import next_batch
from tokendrop.compare.tuning.outcomes import Measured, Outcome, Trial
from tokendrop.compare.tuning.settings import Range, Tuning
from tokendrop.compare.tuning.study import Study
from tokendrop.compare.tuning.trials import Asked

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


def tuned(path: Path, limits: Tuning, monkeypatch: Any, tells: int | None = None) -> list[Trial]:
    """All trials; killed after so many were written down."""
    told, tell = count(), Study.tell

    def until(study: Study, *trial: Any) -> None:
        if next(told) == tells:
            raise Killed
        tell(study, *trial)

    monkeypatch.setattr(Study, "tell", until)
    with Study(path, RANGES, {"rate": 0.1, "kind": "a"}, 0, True, {}) as study:
        while not (standing := study.within(limits)).ended:
            batch = next_batch(study, standing, limits, price)
            if batch is None:
                break
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
    # draws at random know nothing anyway; the seventh begins a batch that follows others
    assert all(same[:4])
    assert not all(same)
