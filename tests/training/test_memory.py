"""What training frees goes back to the system."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from tokendrop.training.memory import FreedMemory


def held() -> int:
    """MiB of this process that no file backs."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) // 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only keeps it")
def test_holes_between_tensors_are_given_back() -> None:
    tensors = [torch.ones(25_000) for _ in range(3000)]  # 100 kB each, so on the heap
    tensors = tensors[::50]
    before = held()
    FreedMemory().on_validation_start(Mock(), Mock())
    assert before - held() > 200
    assert all(tensor.all() for tensor in tensors)
