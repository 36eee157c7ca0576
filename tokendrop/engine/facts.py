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
"""By what :class:`tokendrop.engine.layout.Layout` calls it."""
ALIGNED = 16  # bytes: for what lies at another place, Triton compiles a kernel anew


@torch.inference_mode(False)
def send(values: NDArray[Any], device: torch.device) -> Tensor:
    """Values on a device that is not waited for; they serve a backward pass, too, later."""
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
    """The bytes of arrays one behind the other, each at a place that is ALIGNED."""
    whole, place = np.empty(sum(map(_room, arrays.values())), np.uint8), 0
    for array in arrays.values():
        whole[place : place + array.nbytes] = array.view(np.uint8).ravel()
        place += _room(array)
    return whole


def separated(whole: Tensor, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Views of what :func:`joined` made of arrays like these, wherever it is now."""
    parts = whole.split([_room(array) for array in arrays.values()])
    return {
        name: part[: array.nbytes].view(torch.from_numpy(array).dtype).view(array.shape)
        for part, (name, array) in zip(parts, arrays.items(), strict=True)
    }


def _room(array: NDArray[Any]) -> int:
    """Bytes from the beginning of an array to that of the next."""
    return -(-array.nbytes // ALIGNED) * ALIGNED
