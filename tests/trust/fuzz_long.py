"""What takes too long for the tests: many kills, full disks. Run by ``make fuzz``."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.compare.grid.test_compare import SMOKE, TIMES
from tests.compare.tuning.conftest import TUNED
from tests.trust.trials import TRIED, count

# a shared start, stages, scores of training rows, a search, no training
METHODS = ["dense", "power_bert", "adapler", "length_adaptive", "truncation"]
ENDS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
DISKS = (0.1, 8, 20, 30)  # MB

# what a shell starts in the background ignores it, and so would the commands that are ended here
signal.signal(signal.SIGINT, signal.default_int_handler)


def smoke() -> str:
    whole = yaml.safe_load(Path(SMOKE).read_text(encoding="utf-8"))
    few = {name: whole["methods"][name] for name in METHODS}
    return yaml.safe_dump(whole | {"methods": few, "loggers": ["csv"]})


GRIDS = {"smoke": smoke(), "tuned": TUNED}


def command(grid: str, folder: Path, out: Path) -> list[str]:
    config = folder / f"{grid}.yaml"
    config.write_text(GRIDS[grid], encoding="utf-8")
    words = [sys.executable, "-m", "tokendrop.cli", "compare", "--config", str(config)]
    return [*words, "--out", str(out)]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("undisturbed")
    for grid in GRIDS:
        subprocess.run(command(grid, folder, folder / grid), env=environment(), check=True)
    return {grid: folder / grid for grid in GRIDS}


def assert_alike(out: Path, undisturbed: Path) -> None:
    """Equal results, FLOPs of training included, and equal answers to every example."""
    ours, theirs = (
        pd.read_csv(folder / "results.csv").drop(columns=TIMES) for folder in (out, undisturbed)
    )
    pd.testing.assert_frame_equal(ours, theirs, check_exact=False, rtol=1e-9)
    for path in undisturbed.glob("predictions/**/*.csv"):
        assert (out / path.relative_to(undisturbed)).read_bytes() == path.read_bytes()
    assert not list(out.rglob("*.draft")), "left by a kill"


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Hours are long: what is done is said at once."""
    start = time.monotonic()

    def said(text: str) -> None:
        with capfd.disabled():
            print(f"{(time.monotonic() - start) / 60:6.1f} min  {text}", flush=True)

    return said


def killed(words: list[str], grid: str, draw: random.Random) -> list[str]:
    """How the runs of one comparison were ended, each begun where the last one stopped."""
    ends: list[str] = []
    for _ in range(draw.randint(1, 6)):
        process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
        end, after = draw.choice(ENDS), draw.uniform(1, 40)
        try:
            process.wait(after)
            break  # it had ended before
        except subprocess.TimeoutExpired:
            process.send_signal(end)
        said = process.communicate()[1]
        assert "Traceback" not in said, said
        ends.append(f"{end.name} after {after:.0f} s")
        TRIED[f"comparisons ended by {end.name}, {grid}"] += 1
    return ends


def test_killed_at_any_time_it_ends_the_same(
    undisturbed: dict[str, Path], tmp_path: Path, say: Callable[[str], None]
) -> None:
    seed = time.time_ns()
    draw, kills, fallen = random.Random(seed), 0, []
    say(f"kills, drawn from the seed {seed}")
    while kills < count(2, 100):
        grid, out = draw.choice(list(GRIDS)), tmp_path / f"{kills}"
        words = command(grid, tmp_path, out)
        try:
            ends = killed(words, grid, draw)
            last = subprocess.run(words, env=environment(), capture_output=True, text=True)
            assert last.returncode == 0, last.stderr
            assert_alike(out, undisturbed[grid])
            shutil.rmtree(out)
        except AssertionError as error:
            out.rename(tmp_path / f"fallen-{len(fallen)}")
            fallen.append(f"{grid}: {error}")
            say(f"FELL, {fallen[-1]}")
            kills += 1
            continue
        kills += len(ends)
        say(f"{kills} kills, {len(fallen)} fell; {grid}: {', '.join(ends)}")
    assert not fallen, "\n".join(fallen)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which only root can mount."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={1024 * 1024}", "tmpfs", str(place)]
    subprocess.run(mounted, check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("grid", list(GRIDS))
@pytest.mark.parametrize("cached", [True, False], ids=["cache there", "cache elsewhere"])
@pytest.mark.parametrize("size", DISKS)
def test_a_full_disk_loses_nothing(
    undisturbed: dict[str, Path],
    tmp_path: Path,
    disk: Path,
    say: Callable[[str], None],
    size: float,
    cached: bool,
    grid: str,
) -> None:
    words = command(grid, tmp_path, disk / "out")
    cache = disk / "cache" if cached else tmp_path / "cache"
    settings = environment(TOKENDROP_CACHE=str(cache))

    def resize(megabytes: float) -> None:
        options = f"remount,size={int(megabytes * 1024 * 1024)}"
        subprocess.run(["mount", "-o", options, str(disk)], check=True)

    resize(size)
    full = subprocess.run(words, env=settings, check=False, capture_output=True, text=True)
    lines = [line for line in full.stderr.splitlines() if "error:" in line]
    assert full.returncode in (0, 2), full.stderr
    assert "Traceback" not in full.stderr
    assert len(lines) == (full.returncode == 2), full.stderr
    TRIED[f"disks of {size} MB, {grid}: " + ("full" if lines else "large enough")] += 1
    resize(2000)
    subprocess.run(words, env=settings, check=True, capture_output=True)
    assert_alike(disk / "out", undisturbed[grid])
    say(f"{size} MB, {grid}: " + (lines[0] if lines else "large enough"))
