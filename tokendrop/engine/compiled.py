"""What a layer does token by token, compiled: fewer and larger operators.

One graph serves all layers and any number of tokens, so few of them are made. Attention is not
among them: it is one operator already, and where a row ends is data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tokendrop.engine.parts import Parts
from tokendrop.errors import UserError, one_line

BACKEND = "inductor"

_WANTED: ContextVar[bool] = ContextVar("_WANTED", default=False)


@contextmanager
def compiled_parts(wanted: bool) -> Iterator[None]:
    """Compile the parts of the layers of passes within, if wanted.

    Raises:
        UserError: they cannot be compiled here, e.g. for want of a compiler.
    """
    token = _WANTED.set(wanted)
    try:
        yield
    except torch._dynamo.exc.BackendCompilerFailed as error:
        raise UserError(
            f"compile: true cannot be used here, leave it out: {one_line(error)}"
        ) from error
    finally:
        _WANTED.reset(token)


def compiling_parts() -> bool:
    """Whether this pass is one whose parts are compiled."""
    return _WANTED.get()


class Compiled(Parts):
    """Parts as graphs; see :func:`compiled_parts`."""

    def spare_rows(self, tokens: int) -> int:
        return 0

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = _compiled(self.family.project)(layer, hidden)
        return found

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        closed: Tensor = _compiled(self.family.close_attention)(layer, context, residual)
        return closed

    def feed_forward(self, layer: Any, hidden: Tensor) -> Tensor:
        fed: Tensor = _compiled(self.family.feed_forward)(layer, hidden)
        return fed


@cache
def _compiled(part: Callable[..., Any]) -> Callable[..., Any]:
    # several losses may go backward through one pass, which then must not reuse what it has read;
    # the setting is asked for again in each backward pass, so it cannot be set for a while only
    torch._functorch.config.donated_buffer = False
    return torch.compile(part, dynamic=True, backend=BACKEND)
