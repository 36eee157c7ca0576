"""The clock of inference: padded, packed, and packed with tokens dropped, interleaved."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
from transformers import PreTrainedModel

from tokendrop.data.batching import chunks, padded_lengths
from tokendrop.deploy.engines import Array, Infer
from tokendrop.engine.attention import attend
from tokendrop.engine.encoder import encode
from tokendrop.engine.graphs import parts_of
from tokendrop.engine.linear import with_room
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Trace
from tokendrop.families import family_of
from tokendrop.measure.clock import (
    AGAIN,
    PACKED_DENSE,
    PADDED,
    interleave,
    median_ratio,
    noise,
    pad_rows,
)
from tokendrop.measure.flops import dense_flops, pass_flops
from tokendrop.measure.measures import (
    FLOPS_PADDED,
    FLOPS_UNPADDED,
    THROUGHPUT_PADDED,
    THROUGHPUT_UNPADDED,
)
from tokendrop.measure.speed.by_hand import METHODS
from tokendrop.measure.speed.shapes import LENGTH_MIXES, random_rows
from tokendrop.measure.speed.varlen import varlen_dense
from tokendrop.models.backbones import shape_of
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.dense import Dense

SORTED, VARLEN = "padded_dense_sorted", "varlen_dense"
FEWEST_ROWS = 8  # so that one row at a time is an average over several


@dataclass(frozen=True)
class Cell:
    """One place of the grid: everything in it is timed together.

    Attributes:
        shape: see MODEL_SHAPES.
        mix: see LENGTH_MIXES.
        batch_size: rows at a time.
    """

    shape: str
    mix: str
    batch_size: int

    @property
    def rows(self) -> int:
        # two batches, so that sorting by length has something to do
        return max(FEWEST_ROWS, 2 * self.batch_size)


@torch.inference_mode()
def time_cell(
    model: PreTrainedModel,
    cell: Cell,
    shares: Sequence[float],
    methods: Sequence[str],
    rounds: int,
    seconds: float,
    attainable: bool = False,
    engines: Mapping[str, Infer] | None = None,
) -> Iterator[dict[str, Any]]:
    """Time every method at every kept share against both dense models.

    Args:
        model: a random classifier, on its device.
        cell: the place of the grid.
        shares: kept share of the linear layers' work, set by hand.
        methods: names of METHODS.
        rounds: repetitions, at most.
        seconds: after which no more rounds begin.
        attainable: also time the encoder's operators alone on the tokens that each method kept,
            which is what this machine allows a method that decides for nothing.
        engines: what runs the dense model on padded rows elsewhere, by name.

    Yields:
        one record each for the packed dense model and for the methods, and two for each engine: in
        the order in which rows arrive, and sorted by length. ``eta`` is the wall-clock
        speed-up over the packed dense model divided by the speed-up in FLOPs;
        ``throughput_speedup_varlen`` is over the dense model by torch's variable-length attention,
        None where that does not run (on a CPU, in fp32).
    """
    device = model.device
    rows = random_rows(cell.mix, cell.rows)
    shape = shape_of(model.config, LENGTH_MIXES[cell.mix][1])
    by_length, size = sorted(rows, key=len), cell.batch_size
    batches = [Batch.pack(sorted(chunk, key=len)).to(device) for chunk in chunks(rows, size)]
    padded = [pad_rows(chunk, 0, device) for chunk in chunks(rows, size)]
    padded_sorted = [pad_rows(chunk, 0, device) for chunk in chunks(by_length, size)]
    reduced = {
        (method, share): [
            METHODS[method](share, batch, shape).to(device).eval() for batch in batches
        ]
        for method, share in product(methods, shares)
    }
    dense = [Dense()] * len(batches)

    def packed(reducers: Sequence[Reducer]) -> Callable[[], None]:
        def run() -> None:
            for batch, reducer in zip(batches, reducers, strict=True):
                encode(model, batch, reducer)

        return run

    def plain(inputs: Sequence[dict[str, torch.Tensor]]) -> Callable[[], None]:
        def run() -> None:
            for batch in inputs:
                model(**batch)

        return run

    def varlen() -> None:
        for batch in batches:
            varlen_dense(model, batch)

    contenders = {
        PACKED_DENSE: packed(dense),
        AGAIN: packed(dense),
        PADDED: plain(padded),
        SORTED: plain(padded_sorted),
        **{f"{method} {share}": packed(reducers) for (method, share), reducers in reduced.items()},
    }
    for name, run in (engines or {}).items():
        contenders[name] = partial(_each, run, _numpy(padded))
        contenders[f"{name}, sorted"] = partial(_each, run, _numpy(padded_sorted))
    if device.type == "cuda" and model.dtype != torch.float32:
        contenders[VARLEN] = varlen
    passes = {
        key: [encode(model, b, r).trace for b, r in zip(batches, reducers, strict=True)]
        for key, reducers in reduced.items()
    }
    if attainable:
        for (method, share), traces in passes.items():
            contenders[f"{method} {share} operators"] = partial(_operators, model, batches, traces)
    note = f"time {cell.shape}, {cell.mix} rows, {cell.batch_size} at a time"
    times = interleave(contenders, rounds, device, note, seconds)

    lengths = [len(row) for row in rows]
    whole = dense_flops(lengths, model, shape)
    whole_padded = dense_flops(padded_lengths(lengths, size), model, shape)

    def record(method: str, share: float, name: str, spent: int) -> dict[str, Any]:
        found, unpadded = times[name], median_ratio(times[PACKED_DENSE], times[name])
        operators = times.get(f"{name} operators")
        allowed = median_ratio(times[PACKED_DENSE], operators) if operators else None
        return {
            "method": method,
            "kept_share": share,
            "model_shape": cell.shape,
            "length_mix": cell.mix,
            "batch_size": cell.batch_size,
            FLOPS_PADDED.name: whole_padded / spent,
            FLOPS_UNPADDED.name: whole / spent,
            THROUGHPUT_PADDED.name: median_ratio(times[PADDED], found),
            "throughput_speedup_padded_sorted": median_ratio(times[SORTED], found),
            THROUGHPUT_UNPADDED.name: unpadded,
            "eta": unpadded / (whole / spent),
            "throughput_speedup_attainable": allowed,
            "throughput_speedup_varlen": (
                median_ratio(times[VARLEN], found) if VARLEN in times else None
            ),
            "noise": noise(times[AGAIN], times[PACKED_DENSE]),
            "milliseconds": 1000 * statistics.median(found),
            "gflops_per_second": spent / statistics.median(found) / 1e9,
            "rows": cell.rows,
            "rounds": len(found),
        }

    yield record("dense", 1.0, PACKED_DENSE, whole)
    for (method, share), reducers in reduced.items():
        pairs = zip(passes[method, share], reducers, strict=True)
        spent = sum(pass_flops(trace, reducer, model, shape) for trace, reducer in pairs)
        yield record(method, share, f"{method} {share}", spent)
    whole_sorted = dense_flops(padded_lengths(sorted(lengths), size), model, shape)
    for name in engines or {}:
        yield record(name, 1.0, name, whole_padded)
        yield record(f"{name}, sorted", 1.0, f"{name}, sorted", whole_sorted)


def _numpy(batches: Sequence[dict[str, torch.Tensor]]) -> list[dict[str, Array]]:
    rows = [{name: value.numpy() for name, value in batch.items()} for batch in batches]
    return [row | {"token_type_ids": row["attention_mask"] * 0} for row in rows]


def _each(run: Infer, batches: Sequence[dict[str, Array]]) -> None:
    for batch in batches:
        run(batch)


def _operators(model: PreTrainedModel, batches: Sequence[Batch], traces: Sequence[Trace]) -> None:
    """Every linear layer and every attention of these passes, without a decision or a gather."""
    family = family_of(model)
    layers = family.layers(model)
    for batch, trace in zip(batches, traces, strict=True):
        states, rotary = family.embed(model, batch), family.rotary(model, batch)
        relative = family.relative(model, batch)
        with parts_of(model, family, states) as parts:
            for record in trace.layers:
                layer, layout = layers[record.index], record.attention
                fed = len(record.feed_forward.tokens)
                before, after = record.spare
                states = with_room(states[: len(layout.tokens)], before)
                query, key, value = parts.project(layer, states)
                if rotary is not None:
                    query, key = rotary.turn(layer, query, key, layout)
                window = family.window(layer, batch, layout)
                context, _ = attend(query, key, value, layout, window=window, relative=relative)
                context, states = context[: fed + after], states[: fed + after]
                states = parts.feed_forward(layer, parts.close_attention(layer, context, states))
            family.classify(model, family.pool(model, states, record.feed_forward))
