"""The runs of a grid on the workers of a Ray cluster, or of this machine."""

from __future__ import annotations

import importlib
import logging
import math
import os
import re
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tokendrop.compare.executors.failures import Failures
from tokendrop.compare.executors.jobs import Job
from tokendrop.compare.executors.shipping import pack, unpack
from tokendrop.compare.executors.worker import Board, Place, as_task, outcome_of
from tokendrop.compare.grid.remaining import EVERY, about
from tokendrop.compare.grid.settings import Comparison
from tokendrop.errors import Diverged, UserError, one_line

WAITED = 10.0  # seconds for a cluster's address to answer


@dataclass(frozen=True)
class Cluster:
    """Where the runs of a grid are done.

    Attributes:
        address: of a Ray cluster, "auto" for the one that this machine belongs to; None for workers
            of this machine alone.
        resources: what a job takes: processors (``cpu``, also its threads) and GPUs (``gpu``, of
            which several jobs may share one by fractions).
    """

    address: str | None = None
    resources: dict[str, float] = field(default_factory=lambda: {"cpu": 1.0})

    def __post_init__(self) -> None:
        for name, amount in self.resources.items():
            if name not in ("cpu", "gpu"):
                raise UserError(f"there is no resource {name!r}: use cpu and gpu")
            if not 0 < amount < math.inf or (amount > 1 and amount != int(amount)):
                raise UserError(
                    f"{name} {amount:g} of --resources is no amount that a job can take: use a "
                    "fraction below 1 or a whole number, e.g. '{cpu: 2, gpu: 0.25}'"
                )


def run_on(
    cluster: Cluster,
    jobs: Mapping[str, Job],
    comparison: Comparison,
    out: Path,
    failures: Failures,
    units: float | None = None,
    keep: Callable[[Any], None] = lambda found: None,
) -> dict[str, Any]:
    """Do jobs, each once those before it are done.

    Args:
        cluster: where.
        jobs: by name.
        comparison: settings common to all runs.
        out: output folder, which workers write to if they can see it.
        failures: gets what jobs were to make whose trainings diverged, those that waited for them
            included; all others are done.
        units: of work that all jobs are, if that is known.
        keep: is given what each job gave, in this process, as soon as it is done.

    Returns:
        what each job gave, by its name; nothing of those that failed.

    Raises:
        UserError: Ray is not installed, there is no such cluster or it has not what a job takes,
            or what a job raised; what others finished is kept.
    """
    found: dict[str, Any] = {}
    with _connected(cluster) as ray:
        out = out.resolve()
        shared = _is_shared(ray, out)
        cpu, gpu = (cluster.resources.get(name, 0.0) for name in ("cpu", "gpu"))
        place = Place.of_this_process(cpu, gpu)
        board = ray.remote(num_cpus=0)(Board).remote()
        task = as_task(ray, place)
        given = ray.put(comparison)
        there: dict[str, Any] = {}

        def earlier(name: str) -> Any:
            """What was made before, for workers that cannot see it."""
            if name not in there:
                there[name] = ray.put(pack(out, [out / name]))
            return there[name]

        waiting: dict[str, Any] = {}
        for name, job in jobs.items():
            packed = [waiting[other] for other in job.after]
            if not shared:
                packed += [earlier(other) for other in job.reads]
            seen = out if shared else None
            this = task.options(num_cpus=0, num_gpus=0) if job.only_waits else task
            waiting[name] = this.remote(given, job, seen, place, board, *packed)
        names = {ref: name for name, ref in waiting.items()}
        progress = _Progress(board, ray, len(jobs), units)
        while names:
            ready, _ = ray.wait(list(names), timeout=EVERY)
            for ref in ready:
                name = names.pop(ref)
                try:
                    outcome = outcome_of(ray, ref, name)
                except Diverged as error:
                    failures.add(jobs[name].makes, error)
                    progress.finished(name, str(error))
                    continue
                if outcome.files is not None:
                    unpack(outcome.files, out)
                found[name] = outcome.found
                keep(outcome.found)
                progress.finished(name)
            progress.show()
    return found


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # its workers would give way to whatever else runs here
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        ray: Any = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise UserError("--executor ray needs Ray: pip install 'tokendrop[ray]'") from error
    local = {} if cluster.address else {"include_dashboard": False}
    asked = signal.getsignal(signal.SIGTERM)
    try:
        _knock(cluster.address)
        ray.init(
            address=cluster.address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **local,
        )
    # Exception itself, where a machine is too busy to start Ray in time
    except Exception as error:
        why = one_line(error) or type(error).__name__
        if cluster.address is None:
            raise UserError(
                f"Ray does not start on this machine ({why}): run the same command again when "
                "less runs here, or leave out --executor ray"
            ) from error
        raise UserError(
            f"there is no Ray cluster at {cluster.address} ({why}): start one with 'ray start "
            "--head', or leave out --address"
        ) from error
    finally:
        # Ray would leave without a word
        signal.signal(signal.SIGTERM, asked)
    try:
        _check_enough(ray.cluster_resources(), cluster.resources)
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str | None) -> None:
    """Raise an OSError at once where nobody listens, for which Ray would wait for minutes."""
    if address and (found := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)):
        socket.create_connection((found[1], int(found[2])), timeout=WAITED).close()


def _check_enough(there: Mapping[str, float], wanted: Mapping[str, float]) -> None:
    for name, amount in wanted.items():
        if amount > (most := there.get(name.upper(), 0.0)):
            raise UserError(
                f"a job takes {amount:g} {name} by --resources, and the cluster has {most:g} in "
                "all: ask for less"
            )


def _is_shared(ray: Any, out: Path) -> bool:
    """Whether every machine of the cluster sees the output folder."""
    mark = out / f".seen-by-workers-{uuid.uuid4().hex}"
    mark.touch()
    try:
        look = ray.remote(num_cpus=0)(os.path.exists)
        pinned = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        asked = [
            look.options(scheduling_strategy=pinned(node, soft=False)).remote(str(mark))
            for node in nodes
        ]
        return all(ray.get(asked))
    finally:
        mark.unlink()


class _Progress:
    """Says from time to time what runs where, and what is left."""

    def __init__(self, board: Any, ray: Any, jobs: int, units: float | None) -> None:
        self._board, self._ray = board, ray
        self._jobs, self._units = jobs, units
        self._finished = 0
        self._begun = self._shown = time.monotonic()
        self._console = Console(stderr=True)

    def finished(self, job: str, how: str = "done") -> None:
        self._finished += 1
        self._console.print(f"[{self._finished}/{self._jobs}] {job}: {how}", markup=False)

    def show(self) -> None:
        """A table, unless one was shown in the last seconds."""
        now = time.monotonic()
        if now - self._shown < EVERY or self._finished == self._jobs:
            return
        self._shown = now
        running, done = self._ray.get(self._board.look.remote())
        left = "estimating what is left"
        if self._units is None:
            left = "each method until its budget is spent"
        elif done:
            share = (self._units - done) / done
            left = f"{about(max(0.0, share * (now - self._begun)))} left"
        table = Table(title=f"{self._finished} of {self._jobs} jobs done, {left}")
        for column in ("runs now", "where"):
            table.add_column(column)
        for job, place in running.items():
            table.add_row(job, place)
        self._console.print(table)
