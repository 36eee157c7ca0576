"""Peak memory of padded and packed passes, each in a process of its own."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import torch

from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.measure.clock import pad_rows
from tokendrop.measure.speed.shapes import random_model, random_rows
from tokendrop.reducers.dense import Dense


def peak_memory(shape: str, mix: str, batch_size: int, device: str) -> dict[str, Any]:
    """MiB that a pass and a training step take beyond the loaded model, padded and packed."""
    # the libraries are loaded once, by the server that each measuring process is a fresh copy of
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    row: dict[str, Any] = {"model_shape": shape, "length_mix": mix, "batch_size": batch_size}
    for kind in ("inference", "training"):
        for contender in ("padded", "packed"):
            with context.Pool(1) as pool:
                words = (shape, mix, batch_size, device, contender, kind == "training")
                row[f"{kind}_{contender}_mib"] = pool.apply(_peak, words)
    return row


def _peak(
    shape: str, mix: str, batch_size: int, device: str, contender: str, training: bool
) -> float:
    model = random_model(shape, device).train(training)
    rows = random_rows(mix, batch_size)
    batch = Batch.pack(sorted(rows, key=len)).to(device)
    padded = pad_rows(rows, 0, model.device)
    before = _peak_mib(device, afresh=True)
    with torch.inference_mode(not training):
        for _ in range(2):
            if contender == "padded":
                logits = model(**padded).logits
            else:
                logits = encode(model, batch, Dense()).logits
            if training:
                logits.sum().backward()
    return _peak_mib(device) - before


def _peak_mib(device: str, *, afresh: bool = False) -> float:
    """The most memory that this process has used so far, or from now on: then what it uses now."""
    if device != "cpu":
        if afresh:
            torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Linux: a process begins with its parent's peak in getrusage, but not in its own status
    process = Path("/proc/self")
    if afresh:
        (process / "clear_refs").write_text("5")
    status = (process / "status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
