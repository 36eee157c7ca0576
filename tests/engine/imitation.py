"""Graphs where no GPU is: a recording is a call that is made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.engine import graphs


@contextmanager
def imitated_graphs() -> Iterator[None]:
    """Let passes on a processor be recorded too."""

    def usable(model: PreTrainedModel, entering: Tensor) -> bool:
        return graphs.ENABLED and not torch.is_grad_enabled() and not model.training

    def again(call: Callable[[], Tensor], left: Tensor) -> Callable[[], object]:
        return lambda: left.copy_(call())

    with patch.object(graphs, "usable", usable), patch.object(graphs, "capture", again):
        yield
