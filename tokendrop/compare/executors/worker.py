"""What a worker of a Ray cluster does: one job, and telling how far it is."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tokendrop.compare.executors.jobs import Job
from tokendrop.compare.executors.shipping import changed, pack, state, unpack
from tokendrop.compare.grid.run import make_data
from tokendrop.compare.grid.settings import Comparison
from tokendrop.data import TextData

TOLD = 1.0  # seconds between two messages of a job on how far it is


@dataclass(frozen=True)
class Outcome:
    """What a job made.

    Attributes:
        found: what it gave: records of runs, or the trials of a study.
        files: what it wrote, packed, where the output folder is not on its machine.
    """

    found: Any
    files: bytes | None


@dataclass(frozen=True)
class Place:
    """How a worker becomes like the process that asks it.

    Attributes:
        folder: that process's working directory, for files that are named from there.
        modules: where it imports from, for reducers of the user's own.
        threads: of torch.
    """

    folder: str
    modules: list[str]
    threads: int

    def enter(self) -> None:
        sys.path += [place for place in self.modules if place not in sys.path]
        if os.path.isdir(self.folder):
            os.chdir(self.folder)
        torch.set_num_threads(self.threads)


class Board:
    """What runs where, as the workers say; an actor of its own."""

    def __init__(self) -> None:
        self._running: dict[str, str] = {}
        self._units = 0.0

    def begin(self, job: str, place: str) -> None:
        self._running[job] = place

    def advance(self, units: float) -> None:
        self._units += units

    def end(self, job: str) -> None:
        self._running.pop(job, None)

    def look(self) -> tuple[dict[str, str], float]:
        """Jobs that run, with their places, and units that are done."""
        return dict(self._running), self._units


def work(
    comparison: Comparison,
    job: Job,
    out: Path | None,
    place: Place,
    board: Any,
    *packed: Outcome | bytes,
) -> Outcome:
    """Do a job.

    Args:
        comparison: settings common to all runs.
        job: which one.
        out: the output folder, None where it is on another machine.
        place: where it is done.
        board: the actor that is told.
        packed: without an output folder, what earlier jobs and sessions wrote; else it is waited
            for and means nothing.
    """
    place.enter()
    board.begin.remote(job.name, f"{socket.gethostname()}, process {os.getpid()}")
    done = _telling(board)

    def data_of(task: str, settings: dict[str, Any]) -> TextData:
        return _data(json.dumps(settings), comparison.backbone)

    try:
        if out is not None:
            return Outcome(job.do(comparison, out, data_of, done), None)
        with tempfile.TemporaryDirectory(prefix="tokendrop-") as scratch:
            folder = Path(scratch)
            for one in packed:
                files = one.files if isinstance(one, Outcome) else one
                assert files is not None
                unpack(files, folder)
            before = state(folder)
            found = job.do(comparison, folder, data_of, done)
            return Outcome(found, pack(folder, changed(folder, before)))
    finally:
        board.end.remote(job.name)


@cache
def _data(settings: str, backbone: str) -> TextData:
    """A task's data, which one worker reads once."""
    return make_data(json.loads(settings), backbone)


def _telling(board: Any) -> Callable[[float], None]:
    """Tells the board from time to time how much was done."""
    held, told = 0.0, time.monotonic()

    def done(units: float) -> None:
        nonlocal held, told
        held += units
        if time.monotonic() - told >= TOLD:
            board.advance.remote(held)
            held, told = 0.0, time.monotonic()

    return done
