"""What a fine-tuned model makes of each token of the training rows, one number per token.

Saliency is gradient x input (Modarressi et al., AdapLeR, ACL 2022, section 3): the L2 norm over
channels of the gradient of the gold label's logit with respect to the embedding output, times that
output. Attention is what the tokens receive, which needs no label.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from tokendrop.data import TextData
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.probabilities import Received
from tokendrop.errors import UserError
from tokendrop.families import family_of
from tokendrop.holding import one_at_a_time
from tokendrop.measure.flops import dense_flops
from tokendrop.models.model import load_with
from tokendrop.progress import tracked
from tokendrop.reducers.base import Reducer, View
from tokendrop.reducers.dense import Dense
from tokendrop.sums import is_changed
from tokendrop.training.checkpoints import save_tensors
from tokendrop.training.processes import is_first, wait
from tokendrop.training.work import Done

log = logging.getLogger(__name__)

Gold = Callable[[Tensor, Batch], Tensor]
Score = Callable[[PreTrainedModel, Batch], Tensor]

# forward passes that each costs; saliency has the gradients of the states, none of weights
PASSES = {"saliency": 2, "attention": 1}


def batch_saliency(model: PreTrainedModel, batch: Batch, gold: Gold) -> Tensor:
    """(T,) saliency of each token for the gold label, special tokens included, not normalised.

    The model must be in eval mode.

    Args:
        model: with its head.
        batch: with labels.
        gold: sums up the logits of the right answers, see :meth:`tokendrop.tasks.Task.gold`.
    """
    with torch.enable_grad():
        embeddings = family_of(model).embed(model, batch).detach().requires_grad_()
        logits = encode(model, batch, Dense(), embeddings).logits
        # rows never interact, so one backward pass of the sum serves all of them
        (gradient,) = torch.autograd.grad(gold(logits, batch), embeddings)
    return (gradient * embeddings.detach()).norm(dim=-1)


class _Watch(Reducer):
    """The dense model, which notes the attention that tokens receive in each layer."""

    received: Received = "with_diagonal"

    def start(self, batch: Batch) -> list[Tensor]:
        return []

    def after_attention(self, view: View) -> None:
        view.memory.append(view.received)


def batch_attention(model: PreTrainedModel, batch: Batch) -> Tensor:
    """(T,) attention each token receives from its row, summed over heads, mean over layers.

    The model must be in eval mode.
    """
    with torch.no_grad():
        received: list[Tensor] = encode(model, batch, _Watch()).memory
    return torch.stack(received).mean(0)


def over_training_rows(
    score: Score,
    model_folder: Path,
    weights: Sequence[Path | None],
    data: TextData,
    remembered: Path,
    device: torch.device,
    done: Done,
) -> list[Tensor]:
    """A score of every token of the training rows, averaged over several sets of weights.

    Args:
        score: gives (T,) numbers for a batch.
        model_folder: a fine-tuned dense model.
        weights: safetensors files of its backbone after the epochs to average over; None for the
            weights that lie in its folder.
        data: the task.
        remembered: where the result is kept, named by the score; read if it is there.
        device: that of the training.
        done: is told how much has been done.

    Returns:
        a (tokens,) tensor per row, in the order of the train split.
    """
    if is_first():
        with one_at_a_time(remembered):
            if not _is_whole(remembered):
                _work_out(score, model_folder, weights, data, remembered, device, done)
    wait()
    return list(load_file(remembered)[remembered.stem].split(data.splits["train"].lengths))


def _work_out(
    score: Score,
    model_folder: Path,
    weights: Sequence[Path | None],
    data: TextData,
    remembered: Path,
    device: torch.device,
    done: Done,
) -> None:
    lengths, passes = data.splits["train"].lengths, PASSES[remembered.stem]
    started = time.perf_counter()
    tuned = load_with(model_folder, Dense())
    model = tuned.to(device).backbone
    total = torch.zeros(sum(lengths), device=device)
    first = torch.tensor([0, *lengths], device=device).cumsum(0)
    for number, file in enumerate(weights, start=1):
        if file is not None:
            model.load_state_dict(load_file(file))
        note = f"{remembered.stem} {number}/{len(weights)}"
        loader = data.train_rows_in_order()
        for on_host in tracked(loader, note):
            batch = on_host.to(device, non_blocking=True)
            places = first[batch.examples][batch.layout.row] + batch.positions
            total[places] += score(model, batch)
            done(passes * len(places))
    flops = passes * len(weights) * dense_flops(lengths, model, tuned.shape)
    total = total.cpu()  # waits until all of it is worked out
    cost = {"flops": str(flops), "seconds": str(time.perf_counter() - started)}
    save_tensors({remembered.stem: total / len(weights)}, remembered, cost)


def _is_whole(remembered: Path) -> bool:
    """Whether scores can be read; if they cannot, which is said, they are worked out again."""
    if not remembered.is_file():
        return False
    try:
        if not is_changed(remembered):
            cost_of(remembered)
            return True
    except UserError:
        pass
    log.warning("%s is torn or was changed: it is worked out again", remembered)
    return False


def cost_of(remembered: Path) -> tuple[int, float]:
    """FLOPs and seconds that the scores in this file took to work out.

    Raises:
        UserError: the file is torn.
    """
    try:
        with safe_open(remembered, "pt") as file:
            cost = file.metadata()
        return int(cost["flops"]), float(cost["seconds"])
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{remembered} is torn or not ours: delete it and run again") from error
