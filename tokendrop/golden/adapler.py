"""AdapLeR against its authors' TensorFlow program (amodaresi/AdapLeR)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from tokendrop.engine.by_row import row_sum
from tokendrop.engine.encoder import encode
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded
from tokendrop.errors import UserError, one_line
from tokendrop.families import family_of
from tokendrop.golden import Difference, compare, compare_rows, integers, load_model, read_cases
from tokendrop.models.backbones import shape_of
from tokendrop.reducers.adapler import AdapLeR, Pass
from tokendrop.reducers.base import StageContext
from tokendrop.tasks import SequenceClassification
from tokendrop.training.saliency import batch_saliency


def check(folder: Path) -> Iterator[Difference]:
    """Hard passes, row by row and all in one batch; soft passes with their losses; saliency."""
    cases = read_cases(folder)
    model = load_model(folder, AutoModelForSequenceClassification)
    hard = cases["hard"]
    for number, case in enumerate(hard):
        yield from _hard(f"hard {number}", folder, model, [case])
    if len(hard) > 1:
        yield from _hard("hard, one batch", folder, model, hard)
    for number, case in enumerate(cases["soft"]):
        yield from _soft(f"soft {number}, lambda {case['lam']:g}", folder, model, case)
    for number, case in enumerate(cases["saliency"]):
        batch = Batch.pack(integers(case["input_ids"]), labels=_labels(case))
        gold = SequenceClassification(list((model.config.id2label or {}).values())).gold
        found = batch_saliency(model, batch, gold).split(batch.layout.lengths)
        yield compare_rows(f"saliency {number}", "saliency", found, case["saliency"])


def _hard(
    name: str, folder: Path, model: PreTrainedModel, cases: list[dict[str, Any]]
) -> Iterator[Difference]:
    """Cases as the rows of one batch; each has a single row."""
    reducer = _reducer(folder, model).eval()
    batch = Batch.pack([row for case in cases for row in integers(case["input_ids"])])
    with torch.no_grad():
        encoded = encode(model, batch, reducer)
    kept = torch.zeros(len(cases), len(encoded.trace.layers), dtype=torch.long)
    for layer in encoded.trace.layers:
        kept[layer.attention.rows, layer.index] = torch.tensor(layer.attention.lengths)
    counts = [case["tokens_entering_attention_per_layer"] for case in cases]
    yield Difference(name, "tokens kept", 0.0 if kept.tolist() == counts else float("inf"))
    found = _contributions(encoded, len(cases))
    theirs = [layer for case in cases for layer in case["contributions_per_layer"]]
    yield compare_rows(name, "contributions", found, theirs)
    logits = [row for case in cases for row in case["logits"]]
    yield compare(name, "logits", encoded.logits, logits)


def _contributions(encoded: Encoded, rows: int) -> list[Tensor]:
    """The contributions of each row in each layer, row by row; compaction moves rows about."""
    found: dict[tuple[int, int], Tensor] = {}
    memory: Pass = encoded.memory
    for layer, values in zip(encoded.trace.layers, memory.contributions, strict=True):
        parts = values.split(layer.entered.lengths)
        for row, part in zip(layer.entered.rows.tolist(), parts, strict=True):
            found[row, layer.index] = part
    return [found[key] for key in sorted(found)]


def _soft(
    name: str, folder: Path, model: PreTrainedModel, case: dict[str, Any]
) -> Iterator[Difference]:
    reducer = _reducer(folder, model, contribution_weight=1.0, length_weight=case["phi"]).train()
    rows = [torch.tensor(row, dtype=torch.float32) for row in case["saliency"]]
    ids = integers(case["input_ids"])
    batch = Batch.pack(ids, labels=_labels(case), examples=range(len(ids)))
    lengths = torch.tensor(batch.layout.lengths)
    reducer.enter(reducer.stages()[0], StageContext(lengths, 1, saliency=lambda: rows))
    reducer.sharpness.fill_(case["lam"])

    # in evaluation mode, as the authors' numbers are without dropout
    encoded = encode(model.eval(), batch, reducer)
    memory: Pass = encoded.memory
    assert batch.labels is not None
    task = F.cross_entropy(encoded.logits, batch.labels)
    losses = reducer.losses(encoded)
    speedup = task + losses["length"]
    (gradient,) = torch.autograd.grad(speedup, reducer.eta, retain_graph=True)

    yield compare(name, "logits", encoded.logits, case["logits"])
    layout = batch.layout
    found = [part for x in memory.contributions for part in x.split(layout.lengths)]
    theirs = [row for layer in case["contributions_per_layer"] for row in layer]
    yield compare_rows(name, "contributions", found, theirs)
    ours = torch.stack([row_sum(mask, layout) for mask in memory.masks[1:]])
    slack, steepness = _rounding(reducer, memory, layout)
    lengths = case["soft_lengths_per_layer"]
    yield compare(name, "soft lengths", ours, lengths, float(slack.max()))
    yield compare(name, "cross-entropy", task, case["cross_entropy"])
    slack_sum = float(slack.sum(0).mean())
    yield compare(name, "length loss", ours.sum(0).mean(), case["length_loss"], slack_sum)
    yield compare(name, "speed-up loss", speedup, case["speedup_loss"], case["phi"] * slack_sum)
    steep = steepness * float(gradient.abs().max())
    yield compare(name, "gradient of eta", gradient, case["eta_gradient"], steep)
    yield compare(name, "KL per layer", reducer.divergences(memory, batch), case["kl_per_layer"])
    weighted = case[f"kl_weighted_sum_{len(memory.contributions)}_to_1"]
    yield compare(name, "weighted KL", losses["kl"], weighted)


def _rounding(reducer: AdapLeR, memory: Pass, layout: Layout) -> tuple[Tensor, float]:
    """How far fp32 rounding alone moves soft lengths (L, rows), and gradients, relatively.

    A token that falls from its threshold falls lambda times as fast as the ratio of the two
    numbers compared, which fp32 rounds; so its mask is known no better, in any program. Where no
    token is caught in its fall, this is 0.
    """
    relative = min(0.5, 8 * torch.finfo(torch.float32).eps * float(reducer.sharpness))
    falls, falling = torch.zeros_like(memory.masks[0]), []
    for layer, contributions in enumerate(memory.contributions):
        threshold = reducer.eta[layer] / row_sum(memory.masks[layer], layout)
        falls += contributions < threshold[layout.row]
        falling.append(row_sum(memory.masks[layer + 1].detach() * falls, layout))
    return relative * torch.stack(falling), relative


def _labels(case: dict[str, Any]) -> list[int]:
    return [int(label) for label in case["labels"]]


def _reducer(folder: Path, model: PreTrainedModel, **arguments: float) -> AdapLeR:
    """AdapLeR with the folder's thresholds and predictors."""
    reducer = AdapLeR(**arguments)  # type: ignore[arg-type]
    reducer.build(shape_of(model.config, family_of(model).positions(model.config)))
    file = folder / "strategy.safetensors"
    try:
        missing = reducer.load_state_dict(load_file(file), strict=False)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"cannot load {file} into AdapLeR: {one_line(error)}") from error
    # what the authors' numbers do not depend on, or what each case sets
    needed = set(missing.missing_keys) - {"theta", "sharpness", "within_one_point"}
    if needed or missing.unexpected_keys:
        raise UserError(f"{file} has other tensors than AdapLeR: {sorted(needed)[:3]} are missing")
    return reducer
