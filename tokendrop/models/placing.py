"""Where a model runs and with which weights: a device, and the type of its backbone's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tokendrop.errors import UserError, unknown

Dtype = Literal["fp32", "bf16"]

DTYPES: dict[Dtype, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


def device_named(name: str) -> torch.device:
    """
    Raises:
        UserError: no such device, one on which the packed engine does not run, or no such GPU here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}: use cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name} is not supported: use cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise UserError(f"device {name}: torch sees no GPU here; use cpu")
        if (device.index or 0) >= count:
            raise UserError(f"device {name}: torch sees {count} here, from cuda:0; use one of them")
    return device


def cast_weights(backbone: PreTrainedModel, dtype: Dtype) -> None:
    """Give a backbone weights of this type; what a reducer decides stays in fp32.

    Raises:
        UserError: an unknown type.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", str(dtype), get_args(Dtype))  # torch.bfloat16, mostly
    nn.Module.to(backbone, DTYPES[dtype])


@contextmanager
def made_in_fp32() -> Iterator[None]:
    """Make weights in fp32, in which methods decide, whatever torch's default type is."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def uncast(act: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What a module does to its tensors, e.g. to move them, without another floating-point type."""

    def moved(tensor: Tensor) -> Tensor:
        found = act(tensor)
        cast = found.is_floating_point() and found.dtype != tensor.dtype
        return tensor.to(found.device) if cast else found

    return moved
