"""``tokendrop fit`` on two processes: started, waiting, and ended by signals."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only

from tests.training.test_processes import folder as folder
from tokendrop.deploy.loading import load
from tokendrop.errors import UserError
from tokendrop.training.processes import one_voice

ROOT = Path(__file__).parents[2]


def _fit(folder: Path, *more: str) -> subprocess.Popen[str]:
    words = ["--data.train", "rows.csv", "--data.dev", "dev.csv", "--data.test", "dev.csv"]
    words += ["--data.max_length", "24", "--data.batch_size", "2", "--model.backbone", "backbone"]
    words += ["--model.fine_tune.epochs", "1", "--loggers", "[]", "--trainer.accelerator", "cpu"]
    return subprocess.Popen(
        [sys.executable, "-m", "tokendrop.cli", "fit", *words, *more],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_fit_starts_the_processes_itself(folder: Path) -> None:
    begun = _fit(folder, "--trainer.devices", "2", "--out", "fitted")
    said, complaint = begun.communicate()
    assert begun.returncode == 0, complaint
    # one voice, and the whole model
    assert said.count("accuracy on dev") == 1
    model = load(str(folder / "fitted" / "model"))
    assert model.predict(["we laughed a lot"])[0].label in {"good", "bad"}


def _in_training(folder: Path, out: str) -> tuple[subprocess.Popen[str], int]:
    """A training of two processes after its first epoch, and the number of the second process."""
    begun = _fit(folder, "--trainer.devices", "2", "--model.fine_tune.epochs", "5000", "--out", out)
    while not [*(folder / out).glob("stages/*/epoch2.safetensors")]:
        assert begun.poll() is None
        time.sleep(0.1)
    others = Path(f"/proc/{begun.pid}/task/{begun.pid}/children").read_text().split()
    return begun, int(others[-1])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("ended", ["first", "second"])
def test_when_one_process_is_ended_so_is_the_other_in_one_line(ended: str, folder: Path) -> None:
    begun, second = _in_training(folder, ended)
    if ended == "first":
        begun.terminate()
    else:
        os.kill(second, signal.SIGKILL)
    _, complaint = begun.communicate(timeout=60)
    code, line = {
        "first": (143, "tokendrop: interrupted; the same command continues from here"),
        "second": (2, "another process of this training has ended"),
    }[ended]
    # the launcher may kill who is slow to end
    assert begun.returncode in (code, -signal.SIGKILL)
    assert complaint.count(line) == 1 or "terminated with code" in complaint
    assert "Traceback" not in complaint
    for _ in range(100):
        if not Path(f"/proc/{second}").exists():
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the second process is still there")


@pytest.mark.parametrize(
    "said",
    ["[../gloo/transport/tcp/pair.cc:5] writev: Broken pipe", "NCCL: remote process exited or"],
)
def test_that_another_process_is_gone_is_one_line_of_the_first(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="same command continues"), one_voice():
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="shapes"), one_voice():
        raise RuntimeError("shapes do not fit")
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    try:
        with pytest.raises(SystemExit, match="1"), one_voice():
            raise RuntimeError(said)
    finally:
        logging.disable(logging.NOTSET)


def test_a_wait_for_other_machines_is_said_and_can_be_ended(folder: Path) -> None:
    with _fit(folder, "--trainer.num_nodes", "2", "--out", "waited") as begun:
        assert begun.stderr is not None
        assert any("machine 1 of 2 waits for the others" in line for line in begun.stderr)
        begun.terminate()
        assert begun.wait(20) == -signal.SIGTERM
