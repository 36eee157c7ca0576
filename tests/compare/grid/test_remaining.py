"""What is left of a comparison: units of its runs, and time from the speed so far."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compare.grid.test_settings import parsed
from tokendrop.compare.grid.data import make_data
from tokendrop.compare.grid.remaining import Remaining
from tokendrop.compare.grid.settings import grid
from tokendrop.compare.grid.work import Work, timed

TINY = "{num_hidden_layers: 2, hidden_size: 32, num_attention_heads: 4, intermediate_size: 64}"


class Clock:
    """A clock that is set by hand, and the lines that were said."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.lines: list[str] = []
        self.remaining = Remaining(self.lines.append, lambda: self.time)

    def work(self, units: float, seconds: float) -> None:
        self.time += seconds
        self.remaining.done(units)


def test_the_time_left_follows_from_the_speed_so_far() -> None:
    clock = Clock()
    clock.remaining.add("dense", 100)
    clock.remaining.add("method", 300)
    clock.remaining.begin("dense", "[1/2] dense")
    clock.work(50, seconds=25)
    assert clock.remaining.seconds == 175
    clock.work(50, seconds=75)
    assert clock.remaining.seconds == 300
    clock.remaining.begin("method", "[2/2] method")
    clock.work(300, seconds=1)
    assert clock.remaining.seconds == 0
    assert clock.lines == [
        "[1/2] dense: estimating what is left",
        "about 5 min left",
        "[2/2] method: about 5 min left",
    ]


def test_long_work_says_what_is_left_every_half_minute() -> None:
    clock = Clock()
    clock.remaining.add("dense", 1000)
    clock.remaining.begin("dense")
    for _ in range(100):
        clock.work(1, seconds=1)
    assert clock.lines[1:] == ["about 16 min left", "about 16 min left", "about 15 min left"]


def test_it_is_never_less_than_nothing_and_what_a_job_did_not_need_is_gone() -> None:
    clock = Clock()
    for job in ("long", "resumed", "last"):
        clock.remaining.add(job, 10)
    clock.remaining.begin("long")
    clock.work(1000, seconds=10)
    assert clock.remaining.seconds == pytest.approx(0.2)
    clock.remaining.begin("resumed")
    clock.remaining.begin("last")
    clock.work(20, seconds=1)
    assert clock.remaining.seconds == 0


def test_what_runs_share_is_counted_once(tmp_path: Path) -> None:
    comparison = parsed(
        f"""
        tasks: [rotten_tomatoes]
        random_init: {TINY}
        data: {{train_rows: 20, dev_rows: 8, test_rows: 8}}
        fine_tune: {{epochs: 2, learning_rate: 1.0e-3}}
        methods:
          dense: {{reducer: Dense}}
          adapler: {{reducer: AdapLeR, arguments: {{epochs: 3}}}}
          dact_bert:
            reducer: DactBert
            arguments: {{epochs: 1}}
            operating_points: {{paper: {{exit_rule: paper}}, tight: {{exit_rule: tight}}}}
          length_adaptive:
            reducer: LengthAdaptive
            arguments: {{epochs: 1, random_models: 1}}
            search:
              budgets: {{small: 0.8, large: 0.9}}
              settings: {{generations: 1, population: 2, mutations: 3, crossovers: 3, rows: 8}}
        """
    )
    cells = list(grid(comparison))
    data = make_data(cells[0].data, comparison.backbone)
    train, dev, test = (sum(data.splits[name].lengths) for name in ("train", "dev", "test"))
    work = Work(comparison, tmp_path)
    units = {cell.run.name.split("-rotten")[0]: work.units(cell, data) for cell in cells}
    measured = test + dev + timed(comparison.clock, data.splits["test"].lengths)
    assert units.pop("dense-default") == measured + 2 * (4 * train + dev)
    # two sets of weights, forward and backward, before its three epochs
    assert units.pop("adapler-default") == measured + 2 * 2 * train + 3 * (4 * train + dev)
    assert units.pop("dact_bert-paper") == measured + 4 * train + dev
    assert units.pop("dact_bert-tight") == measured
    assert units.pop("length_adaptive-default") == measured + 3 * 4 * train + dev
    assert units.pop("length_adaptive-small") == measured + 0.5 * 10 * dev
    assert units == {"length_adaptive-large": measured}
