"""Length-Adaptive Transformer: clovaai/length-adaptive-transformer, classification and answering.

Every case is also run packed together with a longer row, which must change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from tokendrop.engine.encoder import Walked, walk
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.families import family_of
from tokendrop.golden import Difference, compare, integers, load_model, read_cases
from tokendrop.models.backbones import shape_of
from tokendrop.reducers.length_adaptive import LengthAdaptive, Plan
from tokendrop.tasks import kind_of

Rows = list[list[int]]


def check(folder: Path) -> Iterator[Difference]:
    """The differences of all cases of a folder.

    Raises:
        UserError: not golden data.
    """
    cases = read_cases(folder)
    answering = "start_logits" in cases[0]
    model = load_model(
        folder, AutoModelForQuestionAnswering if answering else AutoModelForSequenceClassification
    )
    for number, case in enumerate(cases):
        name = f"case {number}"
        ids, types = integers(case["input_ids"]), integers(case["token_type_ids"])
        yield from _case(model, case, name, ids, types)
        more = _longer(ids[0], model)
        yield from _case(model, case, f"{name}, packed", [*ids, more], [*types, [0] * len(more)])


def _longer(row: list[int], model: PreTrainedModel) -> list[int]:
    """Another row, longer than this one where the backbone has positions for it."""
    length = min(len(row) + 3, family_of(model).positions(model.config))
    return (row[::-1] * 2)[:length]


@torch.no_grad()
def _case(
    model: PreTrainedModel, case: dict[str, Any], name: str, ids: Rows, types: Rows
) -> Iterator[Difference]:
    batch = Batch.pack(ids, types)
    reducer = LengthAdaptive(keep_cls=bool(case["always_keep_cls"]))
    reducer.build(shape_of(model.config, max(map(len, ids)), kind_of(model)))
    with reducer.following(partial(_plan, case, reducer)):
        walked = walk(model, batch, reducer.eval(), restore=True)
    assert walked.restored is not None
    count = len(case["input_ids"])  # rows beyond it are only company
    states = walked.restored.split(batch.layout.lengths)

    yield _kept(case, name, walked, count)
    restored = torch.stack(states[:count])
    yield compare(name, "last_hidden_state_restored", restored, case["last_hidden_state_restored"])
    if "logits" in case:
        logits = family_of(model).classify(model, torch.stack([s[0] for s in states[:count]]))
        yield compare(name, "logits", logits, case["logits"])
    else:
        # the reference's head: one linear map of every restored state
        answers: Any = model.qa_outputs
        start, end = answers(restored).unbind(-1)
        yield compare(name, "start_logits", start, case["start_logits"])
        yield compare(name, "end_logits", end, case["end_logits"])


def _plan(case: dict[str, Any], reducer: LengthAdaptive, batch: Batch) -> Plan:
    rows = batch.layout.lengths
    length = case["length_config"] or [reducer.longest] * reducer.layers
    runs = range(reducer.layers) if case["layer_config"] is None else case["layer_config"]
    return Plan.of(rows, [length] * len(rows), [i in set(runs) for i in range(reducer.layers)])


def _kept(case: dict[str, Any], name: str, walked: Walked, count: int) -> Difference:
    """0 where every layer that ran kept the authors' tokens of every row."""
    kept = case["kept_per_executed_layer"]
    # the authors' program lays the kept tokens by score, and the next indices count in that order
    alive = [list(range(n)) for n in walked.trace.start.lengths[:count]]
    same = len(walked.trace.layers) == len(kept)
    for layer, chosen in zip(walked.trace.layers, kept, strict=False):
        if chosen is not None:
            alive = [
                [row[int(i)] for i in places] for row, places in zip(alive, chosen, strict=True)
            ]
        ours = _positions(layer.feed_forward, walked.trace.start)
        same = same and all(ours[row] == sorted(tokens) for row, tokens in enumerate(alive))
    return Difference(name, "kept sets", 0.0 if same else math.inf)


def _positions(layout: Layout, start: Layout) -> dict[int, list[int]]:
    """The positions of the live tokens of each original row."""
    position = layout.tokens - start.first[layout.rows][layout.row]
    rows = zip(layout.rows.tolist(), position.split(layout.lengths), strict=True)
    return {row: positions.tolist() for row, positions in rows}
