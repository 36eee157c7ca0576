"""Wall-clock ratios: contenders run interleaved in one process, medians of per-round ratios.

Absolute times on a shared machine mean little, so nothing but ratios within a round is reported.
The packed dense model runs twice in each round, as two contenders; the spread of that ratio is the
noise, below which a difference is no result.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tokendrop.bounds import Count, check_fields
from tokendrop.data.batching import chunks
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.measure.held import peak_mib
from tokendrop.models.model import TokenDropModel
from tokendrop.progress import tracked
from tokendrop.reducers.dense import Dense

FEWEST_ROUNDS = 3
PACKED_DENSE, AGAIN, PADDED, METHOD = "packed_dense", "packed_dense_again", "padded_dense", "method"


@dataclass(frozen=True)
class Clock:
    """How to time.

    Attributes:
        rows: rows of the test split timed in batches.
        single_rows: rows timed one by one.
        rounds: how often each contender runs; the median of the rounds counts.
    """

    rows: Count = 128
    single_rows: Count = 24
    rounds: Count = 7

    def __post_init__(self) -> None:
        check_fields(self, "clock.")


@torch.inference_mode()
def measure_speed(
    model: TokenDropModel, rows: Sequence[Sequence[int]], batch_size: int, rounds: int, note: str
) -> dict[str, Any]:
    """Time a method against the packed and the padded dense model on the same rows.

    Args:
        model: the trained method; its own backbone serves as the dense models.
        rows: token ids, in the order in which they arrive.
        batch_size: rows at a time.
        rounds: repetitions, each in a random order of contenders.
        note: what the progress bar says.

    Returns:
        the median seconds of each contender over all rows, by name; ``speedup_unpadded`` and
        ``speedup_padded``, the median ratios to the packed and the padded dense model;
        ``packing_speedup``, of the packed to the padded dense model; ``noise``, by how
        much the packed dense model was slower than itself at most over the middle half of the
        rounds; ``peak_mib``, by contender what the tensors of a pass over the batch of the most
        tokens take at once, beside the weights; and how it was measured.
    """
    model.eval()
    device = model.backbone.device
    cut = chunks(rows, batch_size)
    # packed batches lie in length order, as the data module makes them
    packed = [Batch.pack(sorted(chunk, key=len)).to(device) for chunk in cut]
    padding = model.tokenizer.pad_token_id or 0  # which a tokenizer may lack
    padded = [pad_rows(chunk, padding, device) for chunk in cut]
    dense = Dense()

    passes: dict[str, Callable[[int], object]] = {
        PACKED_DENSE: lambda place: encode(model.backbone, packed[place], dense),
        METHOD: lambda place: encode(model.backbone, packed[place], model.reducer),
        PADDED: lambda place: model.backbone(**padded[place]),
    }

    def contender(name: str) -> Callable[[], None]:
        def run() -> None:
            for place in range(len(cut)):
                passes[name](place)

        return run

    runs = {name: contender(name) for name in passes}
    # the order of the names is that of the rounds' lots
    contenders = {
        PACKED_DENSE: runs[PACKED_DENSE],
        AGAIN: runs[PACKED_DENSE],
        METHOD: runs[METHOD],
        PADDED: runs[PADDED],
    }
    times = interleave(contenders, rounds, device, note)
    largest = max(range(len(cut)), key=lambda place: sum(map(len, cut[place])))
    peaks = {name: round(peak_mib(partial(one, largest)), 3) for name, one in passes.items()}
    return ratios(times) | {
        "peak_mib": peaks,
        "batch_size": batch_size,
        "rows": len(rows),
        "rounds": rounds,
    }


def ratios(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """What follows from the seconds of METHOD and of the dense models that ran beside it.

    Args:
        times: of each contender, round by round.

    Returns:
        medians, ratios and noise as in :func:`measure_speed`.
    """
    return {
        **{name: statistics.median(seconds) for name, seconds in times.items()},
        "speedup_unpadded": median_ratio(times[PACKED_DENSE], times[METHOD]),
        "speedup_padded": median_ratio(times[PADDED], times[METHOD]),
        "packing_speedup": median_ratio(times[PADDED], times[PACKED_DENSE]),
        "noise": noise(times[AGAIN], times[PACKED_DENSE]),
    }


def interleave(
    contenders: Mapping[str, Callable[[], None]],
    rounds: int,
    device: torch.device,
    note: str,
    seconds: float = math.inf,
) -> dict[str, list[float]]:
    """Run every contender once unmeasured, then once in each round, in a random order.

    Args:
        contenders: what to time, by name.
        rounds: how often, at most.
        device: what to wait for.
        note: what the progress bar says.
        seconds: no new round begins after this time, from the third on.

    Returns:
        the seconds of each contender in each round, by name.
    """
    for contender in contenders.values():
        contender()
    order = list(contenders)
    shuffle = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in order}
    start = time.perf_counter()
    for done in tracked(range(rounds), note):
        if done >= FEWEST_ROUNDS and time.perf_counter() - start > seconds:
            break
        shuffle.shuffle(order)
        for name in order:
            times[name].append(_seconds(contenders[name], device))
    return times


def median_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median over the rounds of how many times faster one contender is than another."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def noise(again: Sequence[float], first: Sequence[float]) -> float:
    """By how much one contender is slower than itself at most, over the middle half of rounds.

    Whichever of the two times was longer: what disturbs the first one makes others look faster.
    """
    ratios = sorted(a / b for a, b in zip(again, first, strict=True))
    middle = ratios[len(ratios) // 4 : len(ratios) - len(ratios) // 4]
    return max(max(ratio, 1 / ratio) for ratio in middle) - 1


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def pad_rows(
    rows: Sequence[Sequence[int]], pad: int, device: torch.device
) -> dict[str, torch.Tensor]:
    """Rows of token ids as the arguments of a plain Hugging Face model."""
    longest = max(map(len, rows))
    ids = [[*row, *[pad] * (longest - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return {
        "input_ids": torch.tensor(ids, device=device),
        "attention_mask": torch.tensor(mask, device=device),
    }
