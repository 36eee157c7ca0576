"""Records of runs that never ran."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.tasks.test_resampling import classes
from tokendrop.compare.results.records import OnDev, Record


def record(
    method: str = "dense",
    point: str = "full",
    *,
    value: float = 0.82,
    flops: float = 1.0,
    clock: float = 1.0,
    seed: int = 0,
    task: str = "reviews",
    dev_value: float | None = None,
    **changes: Any,
) -> Record:
    layers = 6
    share = 1 / flops
    kept = [1.0] + [max(0.0, 1 - 1.2 * (1 - share) * i / (layers - 1)) for i in range(1, layers)]
    fields: dict[str, Any] = {
        "method": method,
        "operating_point": point,
        "task": task,
        "kind": "classification",
        "seed": seed,
        "metric": "accuracy",
        "value": value,
        "metrics": {"accuracy": value, "f1": value - 0.01},
        "flops_speedup_padded": 1.7 * flops,
        "flops_speedup_unpadded": flops,
        "throughput_speedup_padded": 1.6 * clock,
        "throughput_speedup_unpadded": clock,
        "latency_speedup_b1": 0.9 * clock,
        "kept_tokens_mean": share,
        "layers_mean": 6.0,
        "kept_tokens_per_layer": kept,
        "train_seconds": 60.0 if method == "dense" else 95.0,
        "train_flops": 6e13 if method == "dense" else 9.5e13,
        "examples_eval": 1066,
        "dev": OnDev(
            value=value if dev_value is None else dev_value,
            metrics={"accuracy": value},
            flops_speedup_unpadded=flops,
            examples=400,
            predictions_file=f"predictions/dev/{method}.csv",
        ),
        "flops": {"method": 1e9 * share, "packed_dense": 1e9, "padded_dense": 1.7e9},
        "timing": {
            "batch32": {
                "method": 0.1 / clock,
                "packed_dense": 0.1,
                "padded_dense": 0.16,
                "noise": 0.02,
                "rounds": 9,
                "rows": 256,
            },
            "batch1": {
                "method": 0.01 / clock,
                "packed_dense": 0.01,
                "padded_dense": 0.012,
                "noise": 0.05,
                "rounds": 9,
                "rows": 32,
            },
        },
        "stages": [
            {
                "name": "fine-tune",
                "epochs": 2,
                "seconds": 60.0,
                "flops": 6e13,
                "curve": [
                    {"epoch": epoch, "metrics": {"accuracy": value - 0.05 / epoch}}
                    for epoch in (1, 2)
                ],
            },
        ],
        "details": {} if method == "dense" else {"configuration": [20, 18, 15, 11, 7, 3]},
        "provenance": {
            "command": "tokendrop compare --config demo.yaml --out out",
            "config": {"method": method, "learning_rate": 3e-5},
            "versions": {"torch": "2.13.0", "transformers": "5.17.0"},
            "git_commit": "0123abc",
            "hardware": "2 cores",
            "threads": 2,
            "wall_seconds": 70.0 + seed,
            "started": f"2026-01-01T00:0{seed}:00",
        },
    }
    if method != "dense":
        fields["stages"].append(
            {
                "name": "re-train",
                "epochs": 1,
                "seconds": 35.0,
                "flops": 3.5e13,
                "curve": [{"epoch": 1, "metrics": {"accuracy": value}}],
            }
        )
    return Record(**fields | changes)


def grid(task: str = "reviews", seeds: tuple[int, ...] = (0,), shift: float = 0.0) -> list[Record]:
    """A comparison like the demo's: dense, two points of two methods, and truncation."""
    rows = [
        ("dense", "full", 0.824, 1.0, 1.0),
        ("power_bert", "lambda 0.001", 0.818, 1.62, 1.41),
        ("power_bert", "lambda 0.003", 0.797, 2.45, 1.97),
        ("dact_bert", "tau 0.05", 0.819, 1.31, 1.22),
        ("dact_bert", "tau 0.2", 0.803, 1.88, 1.66),
        ("first_k", "k 16", 0.771, 1.71, 1.69),
        ("first_k", "k 8", 0.712, 3.1, 2.9),
    ]
    return [
        record(
            method,
            point,
            value=value - shift + 0.004 * ((seed + len(point)) % 3 - 1) * (len(seeds) > 1),
            flops=flops,
            clock=clock,
            seed=seed,
            task=task,
        )
        for method, point, value, flops, clock in rows
        for seed in seeds
    ]


def saved(folder: Path, method: str, right: Sequence[Any], seed: int = 0, **fields: Any) -> Record:
    """A run that has these of its examples of two classes right, with its answers beside it."""
    labels = [place % 2 for place in range(len(right))]
    answered = [label if good else 1 - label for label, good in zip(labels, right, strict=True)]
    point = fields.pop("point", "p")
    name = f"predictions/{method}-{point}-{seed}.csv"
    (folder / "predictions").mkdir(exist_ok=True)
    classes(labels, answered, 2).to_csv(folder / name, index_label="example")
    value = {"value": float(np.mean(right)), "predictions_file": name} | fields
    return record(method, point, seed=seed, **value)
