"""What follows from the lengths of packed rows: worked out on the host, sent to a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tokendrop.engine.blocks import spread, starts, tiles


def _is_first(lengths: Sequence[int]) -> NDArray[np.bool_]:
    mask = np.zeros(sum(lengths), dtype=bool)
    mask[starts(lengths)] = True
    return mask


def _offsets(lengths: Sequence[int]) -> NDArray[np.int64]:
    return np.append(starts(lengths), sum(lengths))


FACTS: dict[str, Callable[[Sequence[int]], NDArray[Any]]] = {
    "first": starts,
    "offsets": _offsets,
    "sizes": lambda lengths: np.array(lengths, dtype=np.int64),
    "row": lambda lengths: np.repeat(np.arange(len(lengths)), lengths),
    "slots": lambda lengths: spread(lengths, max(lengths, default=0) * np.arange(len(lengths))),
    "cu_seqlens": lambda lengths: _offsets(lengths).astype(np.int32),
    "tiles": tiles,
    "is_first": _is_first,
}
"""By what :class:`tokendrop.engine.packed.Layout` calls it."""


def send(values: NDArray[Any], device: torch.device) -> Tensor:
    """Values on a device that is not waited for."""
    return pinned(values, device).to(device, non_blocking=True)


def pinned(values: NDArray[Any], device: torch.device) -> Tensor:
    """Values on the host, from where they can be copied to a device that is not waited for."""
    found = torch.from_numpy(values)
    # from other memory a copy may wait for all that the GPU has been given to do
    return found.pin_memory() if device.type == "cuda" else found


def send_all(
    lengths: Sequence[int], device: torch.device, **others: NDArray[Any]
) -> dict[str, Tensor]:
    """All FACTS of rows of these lengths in one transfer, which costs a host what an operator does.

    Others go with them, by their own names.

    >>> facts = send_all([2, 3], torch.device("cpu"))
    >>> facts["row"].tolist(), facts["tiles"].tolist(), facts["is_first"].tolist()
    ([0, 0, 1, 1, 1], [[0, 0], [1, 0]], [True, False, True, False, False])
    """
    arrays = others | {name: np.ascontiguousarray(fact(lengths)) for name, fact in FACTS.items()}
    return separated(send(joined(arrays), device), arrays)


def joined(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """The bytes of arrays end to end, those of wide numbers first, so that all are aligned."""
    return np.concatenate([arrays[name].view(np.uint8).ravel() for name in _by_width(arrays)])


def separated(whole: Tensor, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Views of what :func:`joined` made of arrays like these, wherever it is now."""
    names = _by_width(arrays)
    parts = whole.split([arrays[name].nbytes for name in names])
    return {
        name: part.view(torch.from_numpy(arrays[name]).dtype).view(arrays[name].shape)
        for name, part in zip(names, parts, strict=True)
    }


def _by_width(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    return sorted(arrays, key=lambda name: -arrays[name].itemsize)
