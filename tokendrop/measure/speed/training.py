"""The clock of a training step: padded against packed, and each method's, interleaved."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from tokendrop.engine.compiled import compiled_parts
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded
from tokendrop.measure.clock import (
    AGAIN,
    PACKED_DENSE,
    PADDED,
    interleave,
    median_ratio,
    noise,
    pad_rows,
)
from tokendrop.measure.measures import THROUGHPUT_PADDED
from tokendrop.measure.speed.shapes import LENGTH_MIXES, random_rows
from tokendrop.models.backbones import shape_of
from tokendrop.reducers import REDUCERS
from tokendrop.reducers.base import Reducer, Stage, StageContext, Step
from tokendrop.reducers.dense import Dense
from tokendrop.training.objectives import backward

PLAIN = Stage("fine_tune", 1, 1e-5, clip=1.0)


def time_training(
    model: PreTrainedModel,
    shape: str,
    mix: str,
    batch_size: int,
    rounds: int,
    seconds: float,
    methods: Sequence[str] = (),
    compiled: bool = False,
) -> list[dict[str, Any]]:
    """A step of each: passes, losses, gradients, clipping and AdamW, as methods are trained.

    On a GPU all of them run under bf16 autocast.

    Args:
        model: a random classifier in fp32; copies of it are trained.
        shape: the model's name in MODEL_SHAPES.
        mix: see LENGTH_MIXES.
        batch_size: rows of a step.
        rounds: steps of each contender, at most.
        seconds: after which no more rounds begin.
        methods: of METHODS, whose steps are also timed, in each stage of their training.
        compiled: also time the packed dense model with compiled layers.

    Returns:
        a record for the packed dense model and for each stage of each method.
    """
    device = model.device
    rows = random_rows(mix, batch_size)
    labels = [i % 2 for i in range(batch_size)]
    batch = Batch.pack(sorted(rows, key=len), labels=labels, examples=range(batch_size)).to(device)
    padded = pad_rows(rows, 0, device)
    padded_model = deepcopy(model).train()
    packed = _step(deepcopy(model).train(), Dense(), PLAIN, batch)
    contenders = {
        PACKED_DENSE: packed,
        AGAIN: packed,
        PADDED: _plain_step(padded_model, padded, torch.tensor(labels, device=device)),
    }
    if compiled:
        step = _step(deepcopy(model).train(), Dense(), PLAIN, batch)
        contenders[f"{PACKED_DENSE}, compiled"] = partial(_with_compiled_parts, step)
    longest = LENGTH_MIXES[mix][1]
    for method in methods:
        for stage, step in _stages(method, model, batch, longest):
            contenders[f"{method}, {stage}"] = step
    note = f"time training steps of {shape}, {batch_size} {mix} rows"
    times = interleave(contenders, rounds, device, note, seconds)
    return [
        {
            "method": name,
            "model_shape": shape,
            "length_mix": mix,
            "batch_size": batch_size,
            THROUGHPUT_PADDED.name: median_ratio(times[PADDED], times[name]),
            "noise": noise(times[AGAIN], times[PACKED_DENSE]),
            "milliseconds": 1000 * statistics.median(times[name]),
            "milliseconds_padded": 1000 * statistics.median(times[PADDED]),
            "rounds": len(times[name]),
        }
        for name in contenders
        if name not in (AGAIN, PADDED)
    ]


def _stages(
    method: str, model: PreTrainedModel, batch: Batch, longest: int
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Each stage of a method's training with its step, dropping as at its beginning."""
    made = {name.lower(): kind for name, kind in REDUCERS.items()}[method.replace("_", "")]
    lengths = batch.layout.lengths
    context = StageContext(
        torch.tensor(lengths), steps=100, saliency=lambda: [torch.rand(n) for n in lengths]
    )
    for number in range(len(made().stages())):
        reducer = made()
        reducer.build(shape_of(model.config, longest))
        # what a stage leaves is what the next begins with
        for stage in reducer.stages()[:number]:
            reducer.enter(stage, context)
            reducer.leave(stage, {})
        stage = reducer.stages()[number]
        reducer.enter(stage, context)
        reducer.to(model.device).train()
        yield stage.name, _step(deepcopy(model).train(), reducer, stage, batch)


def _step(
    model: PreTrainedModel, reducer: Reducer, stage: Stage, batch: Batch
) -> Callable[[], None]:
    labels = batch.labels
    assert labels is not None
    groups = reducer.groups(stage, model)
    optimizers = [torch.optim.AdamW(g.parameters.values(), lr=1e-5, fused=True) for g in groups]

    def loss(encoded: Encoded) -> Tensor:
        return cross_entropy(encoded.logits, labels)

    passes = Step(lambda: encode(model, batch, reducer), loss)

    def step() -> None:
        reducer.before_step(0)
        for optimizer in optimizers:
            optimizer.zero_grad()
        with _autocast(model):
            for losses in reducer.training_passes(passes):
                backward(losses, groups, Tensor.backward)
        if stage.clip is not None:
            for group in groups:
                nn.utils.clip_grad_norm_(group.parameters.values(), stage.clip)
        for optimizer in optimizers:
            optimizer.step()
        reducer.after_step(0)

    return step


def _with_compiled_parts(step: Callable[[], None]) -> None:
    with compiled_parts(True):
        step()


def _plain_step(
    model: PreTrainedModel, inputs: dict[str, Tensor], labels: Tensor
) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with _autocast(model):
            loss = cross_entropy(model(**inputs).logits.float(), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def _autocast(model: PreTrainedModel) -> torch.autocast:
    kind = model.device.type
    return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda")
