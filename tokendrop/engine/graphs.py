"""CUDA graphs of what layers do token by token, in inference.

A GPU is done with a small batch before the host has launched the next operator. So the operators of
each part of a layer are recorded once for a number of rows, and then launched as one. Attention and
what a method decides lie between the parts and run as ever, so this serves every method; those that
need not be asked in between are recorded as a whole (:mod:`tokendrop.engine.whole`).

All graphs work on the same few tensors, one pass at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode
from transformers import PreTrainedModel

from tokendrop.engine.compiled import Compiled, compiling_parts
from tokendrop.engine.parts import Parts
from tokendrop.families import Family

# numbers of the states of a pass; with more of them, it is the device that the host waits for
NUMBERS = 8192 * 768

ENABLED = True
"""Whether anything is recorded. To see every operator, e.g. in a profile, set it to False."""


def sized(tokens: int) -> int:
    """A number of rows at or little above this one, so that few numbers occur.

    >>> sized(1), sized(1000), sized(1025), sized(4100)
    (64, 1024, 1088, 4352)
    """
    step = max(64, 1 << max(0, (tokens - 1).bit_length() - 5))
    return -(-tokens // step) * step


@contextmanager
def parts_of(model: PreTrainedModel, family: Family, hidden: Tensor) -> Iterator[Parts]:
    """How the parts of a model's layers run in a pass that ``hidden`` (T, hidden) enters."""
    if compiling_parts():
        yield Compiled(family, hidden)
        return
    if not usable(model, hidden):
        yield Parts(family, hidden)
        return
    with alone() as free:
        yield Recorded(family, hidden) if free else Parts(family, hidden)


_TURN = threading.Lock()


@contextmanager
def alone() -> Iterator[bool]:
    """Whether no other pass is under way that uses graphs; until this one ends, none begins."""
    free = _TURN.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            _TURN.release()


def usable(model: PreTrainedModel, hidden: Tensor) -> bool:
    """Whether a pass that this enters can be made of graphs."""
    return (
        ENABLED
        and hidden.is_cuda
        and not model.training
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cuda")
        and not torch.compiler.is_compiling()
        # a counter of FLOPs would see nothing
        and _get_current_dispatch_mode() is None
        and torch.cuda.current_stream(hidden.device) == torch.cuda.default_stream(hidden.device)
    )


@dataclass(frozen=True, eq=False)
class _Weight:
    """Where a graph reads a weight, and among which of a module it is.

    The module itself would never be let go.
    """

    among: dict[str, Any]
    name: str
    weight: Tensor
    address: int

    def is_there(self) -> bool:
        weight = self.among.get(self.name)
        return weight is self.weight and weight.data_ptr() == self.address


@dataclass(frozen=True, eq=False)
class _Child:
    """Which module stands at a place of another one. Hooks of it run in no graph."""

    among: dict[str, Any]
    name: str
    module: nn.Module

    def is_there(self) -> bool:
        hooks = self.module._forward_hooks or self.module._forward_pre_hooks
        return self.among.get(self.name) is self.module and not hooks


@dataclass(frozen=True, eq=False)
class _Graph:
    """A recorded part: what it reads and what it leaves."""

    read: Sequence[Tensor]
    left: Any
    replay: Callable[[], object]


@dataclass(eq=False)
class _Known:
    """The graphs of a layer: by part, rows and type, None for what ran once, unrecorded. Or those
    of a model, see :mod:`tokendrop.engine.whole`.
    """

    made_of: list[_Weight | _Child]
    graphs: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, layer: nn.Module) -> _Known:
        made_of: list[_Weight | _Child] = []
        for module in layer.modules():
            for name, weight in module.named_parameters(recurse=False):
                made_of.append(_Weight(module._parameters, name, weight, weight.data_ptr()))
            for name, child in module.named_children():
                made_of.append(_Child(module._modules, name, child))
        return cls(made_of)


_KNOWN: WeakKeyDictionary[nn.Module, _Known] = WeakKeyDictionary()
_STATES: dict[tuple[Any, ...], Tensor] = {}


def recordings(module: nn.Module) -> dict[tuple[Any, ...], Any]:
    """The graphs of a layer or a model, none if it is made of something else than it was then."""
    known = _KNOWN.get(module)
    if known is None or not all(part.is_there() for part in known.made_of):
        known = _KNOWN[module] = _Known.of(module)
    return known.graphs


class Recorded(Parts):
    """Parts that are launched as one, each from the second time on that it meets a size."""

    reused = True

    def __init__(self, family: Family, hidden: Tensor) -> None:
        super().__init__(family, hidden)
        self._most = NUMBERS // hidden.shape[1]

    def spare_rows(self, tokens: int) -> int:
        size = sized(tokens)
        return size - tokens if size <= self._most else 0

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        recordings(layer)  # the first part: weights stay where they are until the pass has ended
        found: tuple[Tensor, Tensor, Tensor] = self._run("project", layer, hidden=hidden)
        return found

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        closed: Tensor = self._run("close_attention", layer, context=context, hidden=residual)
        return closed

    def feed_forward(self, layer: Any, hidden: Tensor) -> Tensor:
        fed: Tensor = self._run("feed_forward", layer, hidden=hidden)
        return fed

    def _run(self, name: str, layer: Any, **states: Tensor) -> Any:
        part = getattr(self.family, name)
        given = list(states.values())
        rows, graphs = len(given[0]), _KNOWN[layer].graphs
        place = (name, rows, given[0].dtype, given[0].device)
        if rows > self._most or place not in graphs:
            graphs[place] = None
            return part(layer, *given)
        graph = graphs[place]
        if graph is None:
            places = [_states(kind, value, self._most) for kind, value in states.items()]
            graph = graphs[place] = _recorded(part, layer, [x[:rows] for x in places], self._most)
        for read, value in zip(graph.read, given, strict=True):
            if read.data_ptr() != value.data_ptr():
                read.copy_(value)
        graph.replay()
        return graph.left


def _states(name: str, like: Tensor, rows: int) -> Tensor:
    """The (rows, width) tensor that graphs read or leave under this name."""
    key = (name, rows, like.shape[1], like.dtype, like.device)
    if key not in _STATES:
        with torch.inference_mode(False):  # of use inside and outside of it
            _STATES[key] = torch.zeros(rows, like.shape[1], dtype=like.dtype, device=like.device)
    return _STATES[key]


def _recorded(part: Callable[..., Any], layer: Any, read: Sequence[Tensor], most: int) -> _Graph:
    made = part(layer, *read)
    several = isinstance(made, tuple)

    def whole(made: Any) -> Tensor:
        return torch.cat([x.flatten(1) for x in made], 1) if several else made

    left = _states("projected" if several else "hidden", whole(made), most)[: len(read[0])]
    replay = capture(lambda: whole(part(layer, *read)), left)
    if not several:
        return _Graph(read, left, replay)
    parts = zip(left.split([x[0].numel() for x in made], 1), made, strict=True)
    return _Graph(read, tuple(x.view(like.shape) for x, like in parts), replay)


def capture(run: Callable[[], Tensor], left: Tensor) -> Callable[[], object]:
    """Record what ``run`` launches; its result is copied to ``left``."""
    device = left.device
    graph, stream = torch.cuda.CUDAGraph(), _stream(device)
    present = torch.cuda.current_stream(device)
    stream.wait_stream(present)
    with torch.cuda.stream(stream):
        run()  # libraries make their work space at the first use on a stream
        pool = _pool(device)
        # other threads may go on, e.g. those that pin batches
        graph.capture_begin(pool=pool, capture_error_mode="thread_local")
        try:
            left.copy_(run())
        finally:
            graph.capture_end()
    present.wait_stream(stream)
    return graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@cache
def _pool(device: torch.device) -> Any:
    """One for all graphs: none of their tensors has to outlive a part."""
    return _keeper(device).pool()


@cache
def _keeper(device: torch.device) -> torch.cuda.CUDAGraph:
    """A graph that stays, as a pool ends with the last of its graphs."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(_stream(device)):
        graph.capture_begin(capture_error_mode="thread_local")
        torch.zeros(1, device=device)
        graph.capture_end()
    return graph
