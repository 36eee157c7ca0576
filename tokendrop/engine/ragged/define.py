"""Operators of torch that are made of Triton kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("tokendrop", "FRAGMENT")


def define(schema: str, kernel: Callable[..., Any], fake: Callable[..., Any]) -> None:
    """Make ``torch.ops.tokendrop.NAME``.

    Args:
        schema: its name and the types of what it takes and gives. By it, as a wrapped Python
            function takes twice as long to call.
        kernel: launches what it does, on the device of the first tensor.
        fake: gives tensors of the shapes that ``kernel`` gives, without numbers.
    """

    def where_they_are(first: Tensor, *others: Any) -> Any:
        if not first.is_cuda:
            return kernel(first, *others)
        with torch.cuda.device(first.device):  # Triton launches on the current one
            return kernel(first, *others)

    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, where_they_are, "CompositeExplicitAutograd")
    torch.library.register_fake(f"tokendrop::{name}", fake, lib=_LIBRARY)
