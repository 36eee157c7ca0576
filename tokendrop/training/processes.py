"""One training on several processes: each has a share of every batch's rows and the whole model.

Gradients are averaged here by one all-reduce a step instead of by PyTorch's wrapper around a model.
The wrapper sees neither gradients that are asked for (groups of parameters with different losses)
nor several passes in a step, and dies of parameters that a pass left out.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from datetime import timedelta
from io import StringIO
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, distributed, nn

from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.reducers.base import Step
from tokendrop.tasks import Answers, Task

log = logging.getLogger(__name__)

# others wait while the first one works out what methods ask about the training rows
LONGEST_WAIT = timedelta(days=1)


class Processes(DDPStrategy):
    """Lightning's processes, without the wrapper around the model."""

    def __init__(self) -> None:
        super().__init__(timeout=LONGEST_WAIT)

    def configure_ddp(self) -> None:
        """Begin everywhere with the weights of the first process."""
        assert isinstance(self.model, nn.Module)
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            distributed.broadcast(tensor.data, 0)

    def setup(self, trainer: Trainer) -> None:
        """Leave SIGTERM to who has it: Lightning's handler waits in it for all processes.

        The others are at another step of theirs, so that this may never end. Slurm tells all of
        them, and there Lightning's handlers put a job that was cut back into the queue.
        """
        super().setup(trainer)
        if not isinstance(self.cluster_environment, SLURMEnvironment):
            connector: Any = trainer._signal_connector
            connector.register_signal_handlers = lambda: None


def meet(trainer: Trainer) -> None:
    """Start the processes of a trainer, unless somebody has, and wait for them.

    Raises:
        UserError: a trainer whose processes would each wrap the model in their own way.
    """
    strategy = trainer.strategy
    if trainer.world_size == 1:
        return
    if not isinstance(strategy, Processes):
        raise UserError(
            f"{type(strategy).__name__} cannot train on {trainer.world_size} processes: give the "
            "trainer strategy=tokendrop.training.processes.Processes() and "
            "use_distributed_sampler=False"
        )
    if not several():
        assert strategy.launcher is not None
        with _waiting(trainer):
            strategy.launcher.launch(strategy.setup_environment, trainer=trainer)


@contextmanager
def _waiting(trainer: Trainer) -> Iterator[None]:
    """Say that other machines are waited for, and let a signal end that.

    The wait is no Python code, so a handler in Python would run only when it is over.
    """
    if trainer.num_nodes == 1:
        yield
        return
    strategy = trainer.strategy
    assert isinstance(strategy, Processes)
    assert strategy.cluster_environment is not None
    where = strategy.cluster_environment
    # only the main thread is told of signals
    is_main = threading.current_thread() is threading.main_thread()
    ends = [signal.SIGINT, signal.SIGTERM] if is_main else []
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ends}
    log.warning(
        "machine %d of %d waits for the others, all of which meet at %s port %s: where no launcher "
        "starts them, give each MASTER_ADDR, MASTER_PORT and a NODE_RANK of its own, from 0",
        *(where.node_rank() + 1, trainer.num_nodes, where.main_address, where.main_port),
    )
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def several() -> bool:
    """Whether this training runs on several processes, which have met."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def is_first() -> bool:
    """Whether this process writes and speaks."""
    return not rank_zero_only.rank  # type: ignore[attr-defined]


def wait() -> None:
    """Until all processes are here."""
    if several():
        distributed.barrier()


def total(number: int, device: torch.device) -> int:
    """The sum of a number over the processes."""
    if not several():
        return number
    numbers = torch.tensor(number, device=device)
    distributed.all_reduce(numbers)
    return int(numbers)


def gather(answers: Answers[Any]) -> None:
    """Join the answers of all processes, each of which has seen other rows.

    They come in the same order everywhere, so that sums over them are the same to the last bit: by
    them each process decides for itself whether an epoch is the best.
    """
    if several():
        everyones: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(everyones, answers.found)
        answers.found.clear()
        for one in everyones:
            answers.join(one)


@dataclass(frozen=True, eq=False)
class Part:
    """What a process has of a step's rows, so that means over all processes are those of all rows.

    Attributes:
        rows: its share of them, a scalar.
        loss, divergence: what makes the mean over its share of what these are means of (rows,
            tokens, or weights of classes) one that counts as much as its share of the rows.
    """

    rows: Tensor
    loss: Tensor
    divergence: Tensor

    @classmethod
    def of(cls, batch: Batch, task: Task) -> Part:
        """That of this process; all have to ask."""
        device = batch.input_ids.device
        counted = (len(batch), task.loss_weight(batch), task.divergence_weight(batch))
        own = torch.stack([torch.as_tensor(n, device=device).float() for n in counted])
        whole = own.clone()
        distributed.all_reduce(whole)
        rows, loss, divergence = own / whole.clamp_min(torch.finfo(whole.dtype).tiny)
        return cls(rows, loss / rows, divergence / rows)

    def weighted(self, step: Step) -> Step:
        """The step, with terms that count by rows."""
        return replace(
            step,
            task_loss=lambda encoded: self.loss * step.task_loss(encoded),
            divergence=lambda one, other: self.divergence * step.divergence(one, other),
        )

    def average(self, parameters: Sequence[nn.Parameter], terms: Tensor) -> Tensor:
        """Average gradients and loss terms over the processes.

        A parameter that no process has a gradient of is left without one, as in one process, so
        that its optimiser passes it over.

        Args:
            parameters: whose gradients become those of all rows.
            terms: (n,) loss terms of this process.

        Returns:
            (n,) those of all rows.
        """
        held = [parameter.grad for parameter in parameters]
        has = terms.new_tensor([float(gradient is not None) for gradient in held])
        pieces = [
            (torch.zeros_like(parameter) if gradient is None else gradient).flatten()
            for parameter, gradient in zip(parameters, held, strict=True)
        ]
        sums = torch.cat([*pieces, has, terms]) * self.rows
        distributed.all_reduce(sums)
        *gradients, has, terms = sums.split([*map(len, pieces), len(has), len(terms)])
        for parameter, gradient, any_has in zip(parameters, gradients, has.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter) if any_has else None
        return terms


class Draws:
    """Random numbers of this process alone, for dropout, beside those that all share.

    What a method draws between its passes, as a sub-model of the step, is the same everywhere.
    """

    def __init__(self, seed: int) -> None:
        own = seed + 1_000_000_007 * (1 + distributed.get_rank())
        self._state = torch.Generator().manual_seed(own).get_state()
        torch.cuda.manual_seed(own)  # where methods draw nothing between passes

    @contextmanager
    def own(self) -> Iterator[None]:
        shared = torch.get_rng_state()
        torch.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(shared)


@contextmanager
def one_voice() -> Iterator[None]:
    """Let only the first process speak; the others end with a code.

    Mistakes of the user are the same in all processes, and so is Ctrl-C.

    Raises:
        UserError: another process has ended.
    """
    if is_first():
        try:
            yield
        except RuntimeError as error:
            if not _is_lost(error):
                raise
            raise UserError(
                "another process of this training has ended (killed, or out of memory?): "
                "the same command continues from the last whole epoch"
            ) from error
        return
    logging.disable(logging.ERROR)
    try:
        with redirect_stdout(StringIO()):
            yield
    except UserError as error:
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        raise SystemExit(130) from error
    except SystemExit as error:
        raise SystemExit(error.code) from error  # of which nothing is said, see cli.main
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise SystemExit(1) from error  # the first process says it, or has said why it ended


def _is_lost(error: RuntimeError) -> bool:
    """Whether it says, in the words of gloo or of NCCL, that another process is not there."""
    return any(words in str(error) for words in ("gloo/transport", "remote process exited"))
