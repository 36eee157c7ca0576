"""The most memory that the tensors of a pass take at once, the same on every machine."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_mib(run: Callable[[], object]) -> float:
    """MiB of the tensors that a call makes, at the moment when most of them are alive.

    What was there before, such as weights, does not count, nor does what an operator takes for
    itself and returns before it is done.
    """
    with _Held() as held:
        run()
    return held.peak / 2**20


class _Held(TorchDispatchMode):
    """Follows the storages that operators make until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = {_storage(t)._cdata for t in tree_leaves((args, kwargs)) if _is_tensor(t)}
        made = func(*args, **(kwargs or {}))
        for tensor in filter(_is_tensor, tree_leaves(made)):
            storage = _storage(tensor)
            # a view of something from before was not made here
            if storage._cdata not in given | self._known:
                self._known.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return made

    def _freed(self, which: int, size: int) -> None:
        self._known.discard(which)
        self.now -= size


def _is_tensor(value: object) -> bool:
    # weights in the layout of oneDNN have no storage, and no pass makes any
    return isinstance(value, torch.Tensor) and not value.is_mkldnn


def _storage(tensor: Any) -> torch.UntypedStorage:
    return tensor.untyped_storage()
