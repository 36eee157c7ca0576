"""Operators of torch that are made of Triton kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("tokendrop", "FRAGMENT")


def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> None:
    """Make ``torch.ops.tokendrop.NAME``.

    Args:
        schema: its name and the types of what it takes and gives. By it, as a wrapped Python
            function takes twice as long to call.
        kernel: launches what it does.
        fake: gives tensors of the shapes that ``kernel`` gives, without numbers.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(f"tokendrop::{name}", fake, lib=_LIBRARY)
