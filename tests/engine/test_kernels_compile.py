"""The kernels are code that a GPU can run, found out where none is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton has packages for Linux only")

from tokendrop.engine.ragged import kernels, row_kernels
from tokendrop.reducers.soft_removal import kernels as removal_kernels

ROOT = Path(__file__).parents[2]


def test_every_kernel_compiles_for_a_gpu(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if "TRITON" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.compile_kernels", "90"],
        cwd=ROOT,
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    there = {
        name
        for module in (kernels, row_kernels, removal_kernels)
        for name, value in vars(module).items()
        # the interpreter leaves classes of its own there
        if callable(getattr(value, "run", None)) and not isinstance(value, type)
        if not name.startswith("_")
    }
    assert set(done.stdout.split()) == there
