"""The clock of engines that run the dense model, against our packed and the padded one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from tokendrop.data.batching import chunks
from tokendrop.deploy.check import Rows
from tokendrop.deploy.engines import Infer
from tokendrop.engine.encoder import encode
from tokendrop.measure.clock import (
    AGAIN,
    METHOD,
    PACKED_DENSE,
    PADDED,
    interleave,
    ratios,
)
from tokendrop.models.model import TokenDropModel
from tokendrop.reducers.dense import Dense

ORDERS = ("arrival", "sorted")
"""How rows become batches: as they arrive, or sorted by length first, which saves padding."""


def in_order(lengths: Sequence[int], order: str) -> list[int]:
    """The rows, by their places, in the order in which batches are cut."""
    places = range(len(lengths))
    return list(places) if order == "arrival" else sorted(places, key=lengths.__getitem__)


@torch.inference_mode()
def measure_engines(
    model: TokenDropModel,
    runs: Mapping[str, Infer],
    rows: Rows,
    batch_size: int,
    rounds: int,
    note: str,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Time engines in both orders, all interleaved with the packed and the padded dense model.

    Args:
        model: dense, on the processor.
        runs: what runs it in each engine, by name.
        rows: as they arrive.
        batch_size: rows at a time; of one at a time both orders are the same, and timed once.
        rounds: repetitions, each in a random order of contenders.
        note: what the progress bar says.

    Returns:
        by engine and order what :func:`tokendrop.measure.clock.measure_speed` gives, but for the
        memory, which an engine does not tell. The two dense models have the rows as they arrive.
    """
    lengths = [len(row) for row in rows.input_ids]
    cut = {
        order: [rows.at(places) for places in chunks(in_order(lengths, order), batch_size)]
        for order in ORDERS
    }
    # packed batches lie in length order, as the data module makes them
    packed = [
        chunk.at(in_order([len(row) for row in chunk.input_ids], "sorted")).packed()
        for chunk in cut["arrival"]
    ]
    matrices = {order: [chunk.padded() for chunk in cut[order]] for order in ORDERS}
    plain = [
        {name: torch.from_numpy(matrix[name]) for name in ("input_ids", "attention_mask")}
        for matrix in matrices["arrival"]
    ]
    dense = Dense()
    contenders: dict[str, Callable[[], None]] = {
        PACKED_DENSE: lambda: _each(lambda batch: encode(model.backbone, batch, dense), packed),
        AGAIN: lambda: _each(lambda batch: encode(model.backbone, batch, dense), packed),
        PADDED: lambda: _each(lambda batch: model.backbone(**batch), plain),
    }
    timed = ORDERS if batch_size > 1 else ORDERS[:1]
    for name, run in runs.items():
        for order in timed:
            contenders[f"{name} {order}"] = partial(_each, run, matrices[order])
    times = interleave(contenders, rounds, torch.device("cpu"), note)
    about = {"batch_size": batch_size, "rows": len(rows), "rounds": rounds}
    ours = {name: times[name] for name in (PACKED_DENSE, AGAIN, PADDED)}
    return {
        (name, order): ratios(
            ours | {METHOD: times[f"{name} {order if order in timed else timed[0]}"]}
        )
        | about
        for name in runs
        for order in ORDERS
    }


def _each(run: Callable[[Any], object], batches: Sequence[Any]) -> None:
    for batch in batches:
        run(batch)
