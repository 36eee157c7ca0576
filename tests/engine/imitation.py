"""Graphs where no GPU is: a recording is a call that is made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.engine import graphs
from tokendrop.testing.tiny import HIDDEN


@contextmanager
def imitated_graphs() -> Iterator[None]:
    """Let passes on a processor be recorded too."""

    def usable(model: PreTrainedModel, entering: Tensor) -> bool:
        return graphs.ENABLED and not torch.is_grad_enabled() and not model.training

    def again(call: Callable[[], Tensor], left: Tensor) -> Callable[[], object]:
        return lambda: left.copy_(call())

    # room for few tokens, which is made and written on again and again here
    few = patch.object(graphs, "NUMBERS", 2048 * HIDDEN)
    with few, patch.object(graphs, "usable", usable), patch.object(graphs, "capture", again):
        yield
    # a call that is made again keeps its model, which what a GPU records does not
    graphs._KNOWN.clear()
    graphs._STATES.clear()
