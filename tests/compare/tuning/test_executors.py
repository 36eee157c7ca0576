"""A grid on the workers of a cluster, or in parts, gives what one process gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import ray

from tests.compare.grid.test_compare import TIMES
from tests.compare.tuning.conftest import Finished, trials_of
from tokendrop.cli import main
from tokendrop.compare.executors import cluster
from tokendrop.compare.executors.shards import Shard
from tokendrop.compare.results.records import record_path
from tokendrop.compare.tuning.journal import Lock
from tokendrop.holding import hold, one_at_a_time

SMALL = """
backbone: minilm-l6
random_init: {num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32}
tasks: [rotten_tomatoes]
seeds: [1]
data: {train_rows: 48, dev_rows: 24, test_rows: 24, max_length: 24}
fine_tune: {epochs: 1, learning_rate: 1.0e-2}
clock: {rows: 16, single_rows: 1, rounds: 1}
samples: 0
"""
GRID = (
    SMALL
    + """
loggers: [csv]
engines: [onnxruntime]
methods:
  dense: {reducer: Dense}
  saliency: {reducer: baselines.SaliencyTopK, arguments: {epochs: 1, ratio: 0.6}}
  length_adaptive:
    reducer: LengthAdaptive
    arguments: {epochs: 1, learning_rate: 1.0e-2, length_basis: row}
    search:
      budgets: {most: 0.9, some: 0.85}
      settings: {generations: 1, population: 3, mutations: 2, crossovers: 2, rows: 24}
"""
)
TUNED = (
    SMALL
    + """
loggers: []
tune: {speedups: [1.2], cost: 2.2}
methods:
  layers:
    reducer: baselines.FewerLayers
    arguments: {layers: 1, epochs: 1}
    space: {learning_rate: {low: 1.0e-3, high: 3.0e-2, log: true}}
  merging:
    reducer: baselines.TokenMerging
    operating_points: {some: {share: 0.3}, half: {share: 0.5}}
    space: {order: {choices: [text, reference]}}
"""
)


def finished(folder: Path, settings: str) -> Finished:
    """A comparison made by one process."""
    config, out = folder / "settings.yaml", folder / "out"
    config.write_text(settings)
    assert main(["compare", "--config", str(config), "--out", str(out)]) == 0
    return Finished(config, out, "")


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished(tmp_path_factory.mktemp("grid"), GRID)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished(tmp_path_factory.mktemp("tuned"), TUNED)


@pytest.fixture(scope="module")
def workers() -> Iterator[None]:
    """Workers that one comparison leaves to the next, since each takes seconds to import."""
    with pytest.MonkeyPatch.context() as patch:
        begin, end = ray.init, ray.shutdown
        patch.setattr(ray, "init", lambda **how: ray.is_initialized() or begin(num_cpus=2, **how))
        patch.setattr(ray, "shutdown", lambda: None)
        yield
        end()


def assert_alike(one: Path, other: Path) -> None:
    """The results of two folders are equal, but for times."""
    ours, theirs = (
        pd.read_csv(folder / "results.csv").drop(columns=TIMES) for folder in (one, other)
    )
    pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=1e-6)
    answers = sorted(path.relative_to(one) for path in one.glob("predictions/**/*.csv"))
    assert answers
    for path in answers:
        assert (one / path).read_bytes() == (other / path).read_bytes()


def words(config: Path, out: Path, *more: str) -> list[str]:
    return ["compare", "--config", str(config), "--out", str(out), *more]


def start(these: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tokendrop.cli", *these],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def kill_a_worker(out: Path, killed: list[int], over: threading.Event) -> None:
    """Kill a worker of this process's cluster that is in the middle of a training."""
    while not killed and not over.wait(0.02):
        begun = [path for path in out.glob("stages/*/") if not (path / "done.json").is_file()]
        for place in Path("/proc").glob("[0-9]*") if begun else []:
            try:
                title = (place / "cmdline").read_bytes()
            except OSError:
                continue
            if title.startswith(b"ray::work"):
                os.kill(int(place.name), signal.SIGKILL)
                killed.append(int(place.name))
                break


@pytest.mark.usefixtures("workers")
def test_a_tuned_grid_on_workers_of_which_one_is_killed(tuned: Finished, tmp_path: Path) -> None:
    out, killed, over = tmp_path / "out", list[int](), threading.Event()
    hunter = threading.Thread(target=kill_a_worker, args=(out, killed, over))
    hunter.start()
    code = main(words(tuned.config, out, "--executor", "ray"))
    over.set()
    hunter.join()
    assert code == 0
    assert killed
    assert_alike(out, tuned.out)
    assert trials_of(out) == trials_of(tuned.out)


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("where", [[], ["--executor", "ray"]], ids=["here", "workers"])
def test_a_training_that_diverges_keeps_no_other_from_being_made(
    where: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = tmp_path / "settings.yaml", tmp_path / "out"
    methods = """
loggers: []
methods:
  dense: {reducer: Dense}
  spoilt:
    reducer: DactBert
    arguments: {epochs: 1, learning_rate: 1.0e+30}
    operating_points: {one: {}, other: {exit_rule: tight}}
  merging: {reducer: baselines.TokenMerging, arguments: {share: 0.3}}
"""
    config.write_text(SMALL + methods)
    assert main(words(config, out, *where)) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    names = [f"spoilt-{point}-rotten_tomatoes-seed1" for point in ("one", "other")]
    assert all(name in said for name in names)
    assert "not a number" in said
    assert said.endswith("; the tables are of the other runs")
    assert set(pd.read_csv(out / "results.csv").method) == {"dense", "merging"}
    # with settings that can be trained the folder goes on from there
    mended = ["--methods.spoilt.arguments.learning_rate", "1e-3"]
    assert main(words(config, out, *mended, *where)) == 0
    assert set(pd.read_csv(out / "results.csv").method) == {"dense", "spoilt", "merging"}


@pytest.mark.usefixtures("workers")
def test_trials_in_batches_are_those_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = finished(tmp_path, TUNED.replace("cost: 2.2", "batch: 2, cost: 2.2"))
    monkeypatch.setattr(cluster, "_is_shared", lambda *_: False)
    out = tmp_path / "workers"
    assert main(words(one.config, out, "--executor", "ray")) == 0
    assert_alike(out, one.out)
    assert trials_of(out) == trials_of(one.out)


@pytest.mark.usefixtures("workers")
def test_workers_that_do_not_see_the_folder(
    grid: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_is_shared", lambda *_: False)
    out = tmp_path / "out"
    # one method first, so that a later run begins with what is there
    few = ["--methods", "{dense: {reducer: Dense}}"]
    assert main(words(grid.config, out, *few)) == 0
    assert main(words(grid.config, out, "--executor", "ray")) == 0
    assert_alike(out, grid.out)
    for path in grid.out.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            assert (out / path.relative_to(grid.out)).is_file(), path


def test_four_parts_in_any_order(
    grid: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for part in ("3/4", "1/4", "4/4"):
        assert main(words(grid.config, out, "--shard", part)) == 0
        assert "are left to other parts" in capsys.readouterr().out
        assert not (out / "results.csv").exists()
    assert main(words(grid.config, out, "--shard", "2/4")) == 0
    assert_alike(out, grid.out)


def test_a_part_makes_what_another_at_work_has_not_come_to(
    grid: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second part is at its first training, and would measure the engines last."""
    out = tmp_path / "out"
    begun = record_path(out, "saliency", "default", "rotten_tomatoes", 1)
    with hold(out, "2 of 2"), one_at_a_time(begun):
        assert main(words(grid.config, out, "--shard", "1/2")) == 0
    assert "1 of 7 runs are left" in capsys.readouterr().out
    assert not begun.exists()
    assert main(words(grid.config, out, "--shard", "2/2")) == 0
    assert_alike(out, grid.out)


def test_runs_that_wait_for_nobody_come_before_those_whose_training_another_process_does(
    grid: Finished, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (trained,) = (grid.out / "stages").glob("retrain-*")
    with one_at_a_time(out / "stages" / trained.name):
        part = start(words(grid.config, out, "--shard", "2/2"))
        wait_until(lambda: bool(list((out / "runs").glob("onnxruntime*"))))
        assert part.poll() is None
    assert part.wait() == 0
    assert record_path(out, "saliency", "default", "rotten_tomatoes", 1).is_file()


def test_parts_of_a_tuned_grid_at_once(tuned: Finished, tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = start(words(tuned.config, out, "--shard", "2/2"))
    assert main(words(tuned.config, out, "--shard", "1/2")) == 0
    assert other.wait() == 0
    assert_alike(out, tuned.out)
    assert trials_of(out) == trials_of(tuned.out)


def test_a_part_does_what_nobody_is_at_before_it_waits(tuned: Finished, tmp_path: Path) -> None:
    """Another process tunes its own method, so the other one comes first, with its runs."""
    out = tmp_path / "out"
    own, others = (
        out / f"tuning/rotten_tomatoes--{name}.journal" for name in ("layers", "merging")
    )
    lock = Lock(own)
    part = start(words(tuned.config, out, "--shard", "1/2"))
    try:
        # the outcome of a trial of the other method
        wait_until(lambda: others.is_file() and '"points"' in others.read_text())
        wait_until(lambda: bool(list((out / "runs").glob("merging*.json"))))
        assert part.poll() is None
    finally:
        lock.close()
    assert part.wait() == 0
    assert_alike(out, tuned.out)
    assert trials_of(out) == trials_of(tuned.out)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--shard", "3/2"], "--shard 3/2 names no part"),
        (["--shard", "0/2"], "--shard 0/2 names no part"),
        (["--shard", "half"], "--shard half names no part"),
        (["--executor", "ray", "--resources", "{cpu: 1.5}"], "cpu 1.5 of --resources"),
        (["--executor", "ray", "--resources", "{ram: 1}"], "no resource 'ram': use cpu and gpu"),
        (["--executor", "ray", "--resources", "{gpu: -1}"], "gpu -1 of --resources"),
        (["--executor", "ray", "--address", "127.0.0.1:1"], "no Ray cluster at 127.0.0.1:1"),
        (["--executor", "ray", "--resources", "{cpu: 1000}"], "takes 1000 cpu by --resources"),
        (["--address", "auto"], "add --executor ray"),
    ],
)
def test_what_is_no_cluster_and_no_part(
    grid: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    said: str,
) -> None:
    assert main(words(grid.config, tmp_path / "out", *more)) == 2
    assert said in capsys.readouterr().err


def test_ray_is_optional(
    grid: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(words(grid.config, tmp_path / "out", "--executor", "ray")) == 2
    assert "pip install 'tokendrop[ray]'" in capsys.readouterr().err


def test_a_machine_that_is_too_busy_for_ray_is_told_what_to_do(
    grid: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def begin(**_: object) -> None:
        raise Exception("The current node timed out\nduring startup.")

    monkeypatch.setattr(ray, "init", begin)
    assert main(words(grid.config, tmp_path / "out", "--executor", "ray")) == 2
    said = capsys.readouterr().err
    assert "Ray does not start on this machine (The current node timed out during startup.)" in said


def test_parts_share_a_grid_without_gap_or_overlap() -> None:
    every = list(range(7))
    for of in range(1, 9):
        parts = [Shard(number, of).part(every) for number in range(1, of + 1)]
        assert sorted(one for part in parts for one in part) == every
