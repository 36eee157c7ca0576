"""Sees to it that losses and weights of a training are numbers, without waiting for a GPU."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tokendrop.errors import Diverged


@dataclass(frozen=True, eq=False)
class _Noted:
    """The loss terms of a step.

    Attributes:
        where: the step and its epoch, in words.
        names: of the terms.
        values: (terms,) on the host, right once they are there.
        arrived: tells whether they are; asked to wait, only once they are.
    """

    where: str
    names: tuple[str, ...]
    values: Tensor
    arrived: Callable[[bool], bool]


class LossWatch:
    """The losses of a stage's steps, looked at as soon as they are on the host.

    On a processor that is at once. On a GPU, which works some steps behind, a loss that is not a
    number stops the training some steps later, but before the epoch's weights are kept.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._noted: deque[_Noted] = deque()

    def note(self, names: Sequence[str], values: Tensor, step: int, epoch: int) -> None:
        """Look at the losses of a step, or later if they are not there yet.

        Args:
            names: of the loss terms.
            values: (terms,) without a gradient, on their device.
            step: of the epoch, from 0.
            epoch: from 0.

        Raises:
            Diverged: the loss of this step or of one before it is not a number.
        """
        where = f"step {step + 1} of epoch {epoch + 1}"
        self._noted.append(_Noted(where, tuple(names), *_on_host(values)))
        self.check(wait=False)

    def check(self, wait: bool = True) -> None:
        """Look at all losses noted, or at those that are there.

        Raises:
            Diverged: one of them is not a number.
        """
        while self._noted and self._noted[0].arrived(wait):
            noted = self._noted.popleft()
            if torch.isfinite(noted.values.sum()):
                continue
            values = dict(zip(noted.names, noted.values.tolist(), strict=True))
            terms = ", ".join(f"{name} {value:g}" for name, value in values.items())
            cure = f"lower the learning rate of stage {self._stage!r}"
            if math.isfinite(values.get("train/task", math.nan)):  # the model is sound
                cure = f"keep logarithms, roots and divisors of the others away from 0, or {cure}"
            raise Diverged(f"the loss is not a number in {noted.where} ({terms}): {cure}")


def check_weights(weights: Mapping[str, Tensor], when: str, stage: str) -> None:
    """Raise if a weight is not finite.

    Args:
        weights: by name.
        when: a step or an epoch, in words.
        stage: that trains them.

    Raises:
        Diverged: one is not, with its name.
    """
    found = {name: weight.detach() for name, weight in weights.items()}
    # one number says it of all, at a tenth of what isfinite of each would take
    if torch.isfinite(nn.utils.get_total_norm(list(found.values()))):
        return
    for name, weight in found.items():
        if not torch.isfinite(weight).all():
            raise Diverged(
                f"the weight {name} is not a number after {when}: lower the learning rate of "
                f"stage {stage!r}; the epochs before are kept"
            )


def _on_host(values: Tensor) -> tuple[Tensor, Callable[[bool], bool]]:
    """A copy on the host that is not waited for, and what tells whether it is complete."""
    if not values.is_cuda:
        return values, lambda wait: True
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def arrived(wait: bool) -> bool:
        if wait:
            copied.synchronize()
        return copied.query()

    return host, arrived
