"""What happens in the rows of a packed tensor in one launch, for GPUs: kernels and operators."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch

DEVICES = frozenset({"cuda"})
"""Kinds of devices on which one launch serves all rows."""


def kernels_on(device: torch.device) -> bool:
    """Whether a device runs the kernels: it is one of DEVICES, and Triton is installed."""
    return device.type in DEVICES and _installed()


@cache
def _installed() -> bool:
    return find_spec("triton") is not None
