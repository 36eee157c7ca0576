"""What a worker of a Ray cluster does: one job, and telling how far it is."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from tokendrop.compare.executors.jobs import Job
from tokendrop.compare.executors.shipping import changed, pack, state, unpack
from tokendrop.compare.grid.data import make_data
from tokendrop.compare.grid.settings import Comparison
from tokendrop.data import TextData
from tokendrop.errors import Diverged, UserError, one_line
from tokendrop.families import FAMILIES
from tokendrop.tasks import KINDS, add_kind

RETRIES = 3  # how often a job begins again whose worker was lost
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
        known: families and kinds of task, those that its script has added too; pickled, for a
            class is found among the modules.
        cpu: processors that a job takes, also the threads of torch.
        gpu: GPUs that it takes.
    """

    folder: str
    modules: list[str]
    known: bytes
    cpu: float
    gpu: float

    @classmethod
    def of_this_process(cls, cpu: float, gpu: float) -> Place:
        # by value what stands in the script itself
        pickler: Any = importlib.import_module("ray.cloudpickle")
        known = pickler.dumps((FAMILIES, list(KINDS.values())))
        return cls(os.getcwd(), [path for path in sys.path if path], known, cpu, gpu)

    def enter(self) -> None:
        sys.path += [place for place in self.modules if place not in sys.path]
        if os.path.isdir(self.folder):
            os.chdir(self.folder)
        torch.set_num_threads(max(1, int(self.cpu)))
        try:
            families, kinds = pickle.loads(self.known)
        except ImportError as error:
            raise UserError(
                f"a worker cannot import a family or kind of task of yours ({one_line(error)}): "
                "its module must lie on the import path there too"
            ) from error
        for name, family in families.items():
            if type(FAMILIES.get(name)) is not type(family):
                FAMILIES[name] = family
        for kind in kinds:
            add_kind(kind)


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

    beside = partial(_side_by_side, comparison, out, place, board)
    try:
        if out is not None:
            return Outcome(job.do(comparison, out, data_of, done, partial(beside, out)), None)
        with tempfile.TemporaryDirectory(prefix="tokendrop-") as scratch:
            folder = Path(scratch)
            for one in packed:
                files = one.files if isinstance(one, Outcome) else one
                assert files is not None
                unpack(files, folder)
            before = state(folder)
            found = job.do(comparison, folder, data_of, done, partial(beside, folder))
            return Outcome(found, pack(folder, changed(folder, before)))
    finally:
        board.end.remote(job.name)


def as_task(ray: Any, place: Place) -> Any:
    """What does a job on some worker that has what it takes."""
    return ray.remote(num_cpus=place.cpu, num_gpus=place.gpu, max_retries=RETRIES)(work)


def outcome_of(ray: Any, ref: Any, name: str) -> Outcome:
    """What a job made.

    Raises:
        Diverged: its training did, or one that it waited for.
        UserError: what it raised, or its worker was lost too often.
        OSError, SyntaxError: as the job raised it, e.g. for a full disk.
    """
    try:
        found: Outcome = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, Diverged):
            raise Diverged(str(cause)) from error
        if isinstance(cause, UserError):
            raise UserError(f"{name}: {cause}") from error
        if isinstance(cause, OSError | SyntaxError):
            # Ray's own error is of its class, but has lost the file and what is wrong with it
            raise cause from error
        raise
    except ray.exceptions.RayError as error:
        raise UserError(
            f"{name}: its worker was lost {RETRIES + 1} times ({one_line(error)[:200]}); what is "
            "finished stays: run again"
        ) from error
    return found


def _side_by_side(
    comparison: Comparison,
    out: Path | None,
    place: Place,
    board: Any,
    folder: Path,
    jobs: Sequence[Job],
) -> list[Any]:
    """Do jobs that a job waits for, on workers of their own."""
    ray: Any = importlib.import_module("ray")
    task, seen = as_task(ray, place), []
    if out is None:
        seen = [ray.put(pack(folder, [folder / "stages", folder / "search"]))]
    waiting = [task.remote(comparison, job, out, place, board, *seen) for job in jobs]
    outcomes = [outcome_of(ray, ref, job.name) for ref, job in zip(waiting, jobs, strict=True)]
    for outcome in outcomes:
        if outcome.files is not None:
            unpack(outcome.files, folder)
    return [outcome.found for outcome in outcomes]


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
