"""What a grid costs on paper is the sum of its jobs, and takes no less than its longest chain."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compare.synthetic import record
from tokendrop.compare.results.records import write_record
from tools.grid_cost import cost_of, larger, main

SPACES = {
    "tune": {"cost": 8},
    "methods": {"tuned": {"space": {"x": {}}}, "none": {"space": {1: 2}}},
}


def test_jobs_add_up_and_wait_for_each_other() -> None:
    config = {"provenance": {"config": SPACES}}
    tuning = {"details": {"tuning": {"cost": 5.0}}}
    runs = [record(seed=seed, **config) for seed in (1, 2)]
    runs += [record("tuned", seed=seed, **config, **tuning) for seed in (1, 2)]
    # a second point of the same training
    runs += [record("tuned", "other", seed=seed, **config, **tuning) for seed in (1, 2)]
    own = 3.5 / 6  # of the fine-tuning
    spent = cost_of(runs)
    assert spent.fine_tuning == 6e13
    assert (spent.jobs, spent.widest, spent.without_run) == (6, 2, ["none"])
    assert spent.total == pytest.approx(2 + 5 + 8 + 2 * own)
    assert spent.chain == pytest.approx(1 + 8)
    planned = cost_of(runs, budget=20, batch=4)
    assert planned.total == pytest.approx(2 + 20 + 20 + 2 * own)
    assert planned.chain == pytest.approx(1 + 5 + own)
    two_tasks = cost_of([*runs, *(record(seed=seed, task="b") for seed in (1, 2))])
    assert two_tasks.total == pytest.approx(spent.total + 2)
    assert two_tasks.chain == spent.chain


def test_a_larger_model_costs_what_its_layers_do() -> None:
    assert larger("6x384", "12x384", 32) == pytest.approx(2)
    assert larger("6x384", "6x768", 1) == pytest.approx(4, rel=1e-2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tflops", "4"], "holds no runs: name the folder of a comparison"),
        (["--tflops", "0"], "--tflops: 0 is not above 0"),
        (["--tflops", "4", "--devices", "0"], "--devices: 0 is below 1"),
        (["--tflops", "4", "--to", "6x384", "12"], "--to: 12 is no LAYERSxWIDTH"),
        (["--tflops", "4", "--from", "0x768"], "--from: 0x768 is no LAYERSxWIDTH"),
    ],
)
def test_what_nothing_follows_from_is_named(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["grid_cost.py", str(tmp_path), *words])
    with pytest.raises(SystemExit):
        main()
    assert said in capsys.readouterr().err


def test_a_comparison_without_fine_tuning_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = record()
    given.stages[0] |= {"flops": 0, "epoch_flops": 2e13}
    write_record(given, tmp_path)
    monkeypatch.setattr("sys.argv", ["grid_cost.py", str(tmp_path), "--tflops", "4"])
    with pytest.raises(SystemExit):
        main()
    assert "has no fine-tuning to count in" in capsys.readouterr().err
