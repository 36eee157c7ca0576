"""What a number was made with: versions, commit, hardware, threads."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("tokendrop", "torch", "transformers", "lightning", "datasets", "torchmetrics", "numpy")
TREE = ("tokendrop", "baselines")
"""What runs, by its place in the source tree."""


def provenance() -> dict[str, Any]:
    """The command, package versions, git commit and machine of this process, as plain data."""
    return {
        "command": shlex.join(["tokendrop", *sys.argv[1:]]),
        "versions": {"python": platform.python_version()} | _versions(),
        "git_commit": commit_of(Path(__file__).parents[2]),
        "hardware": _hardware(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit_of(tree: Path) -> str | None:
    """The commit that the packages in a folder are of, "+" where what runs is not what it has.

    Files beside them that are in no commit are people's own: settings, which records hold anyway,
    data and methods. Where the packages are installed below somebody else's repository, as in an
    environment within a project, its commit says nothing of them.
    """

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(tree), *words], capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        if not git("ls-files", "--", *TREE):
            return None
        changed = git("status", "--porcelain", "--untracked-files=no")
        changed = changed or git("status", "--porcelain", "--", *TREE)
        return git("rev-parse", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.SubprocessError):
        return None


def _hardware() -> dict[str, Any]:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "gpus": gpus,
    }
