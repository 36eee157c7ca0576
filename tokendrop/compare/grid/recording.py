"""What every run's record says alike, whoever answered: a method, or an engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokendrop.compare.grid.evaluate import Answered
from tokendrop.compare.grid.saving import save_examples
from tokendrop.compare.grid.settings import Cell, Comparison
from tokendrop.compare.results.records import OnDev, Record
from tokendrop.data import TextData
from tokendrop.measure.provenance import provenance
from tokendrop.models.fingerprint import backbone_fingerprint
from tokendrop.reducers import from_spec
from tokendrop.reducers.own_code import code_of


class Begun:
    """When a run began."""

    def __init__(self) -> None:
        self.at, self._clock = datetime.now(UTC), time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since then."""
        return time.perf_counter() - self._clock


def record_of(
    comparison: Comparison,
    cell: Cell,
    data: TextData,
    out: Path,
    begun: Begun,
    *,
    test: Answered,
    dev: Answered,
    batches: Mapping[str, Any],
    singles: Mapping[str, Any],
    stages: Sequence[dict[str, Any]],
    **own: Any,
) -> Record:
    """The record of a run, whose answers are written beside it.

    Args:
        comparison: settings common to all runs.
        cell: the run.
        data: its task.
        out: output folder of the comparison.
        begun: when the run began.
        test: what was answered on the test split.
        dev: what was answered on the dev split.
        batches: times of 32 rows at once.
        singles: times of single rows.
        stages: what its training cost.
        own: further fields of :class:`Record`.
    """
    run = cell.run
    return Record(
        method=run.method,
        operating_point=run.operating_point,
        task=run.task,
        kind=data.task,
        seed=run.seed,
        metric=cell.metric,
        value=test.metrics[cell.metric],
        metrics=test.metrics,
        flops_speedup_padded=test.flops["padded_dense"] / test.flops["method"],
        flops_speedup_unpadded=test.flops["packed_dense"] / test.flops["method"],
        throughput_speedup_padded=batches["speedup_padded"],
        throughput_speedup_unpadded=batches["speedup_unpadded"],
        latency_speedup_b1=singles["speedup_unpadded"],
        train_seconds=sum(stage["seconds"] for stage in stages),
        train_flops=sum(stage["flops"] for stage in stages),
        examples_eval=len(test.examples),
        flops=test.flops,
        timing={"batch32": batches, "batch1": singles},
        stages=list(stages),
        provenance=provenance()
        | {
            "config": asdict(comparison) | asdict(cell),
            "data_fingerprint": data.fingerprint(),
            "backbone_fingerprint": backbone_fingerprint(
                comparison.backbone, comparison.random_init
            ),
            "code": code_of(from_spec(cell.reducer)),
            "seed": run.seed,
            "evaluate_in": comparison.evaluate_in,
            "started": begun.at.isoformat(timespec="seconds"),
            "wall_seconds": round(begun.seconds, 2),
        },
        predictions_file=save_examples(out, run, test.examples, "predictions"),
        dev=OnDev(
            value=dev.metrics[cell.metric],
            metrics=dev.metrics,
            flops_speedup_unpadded=dev.flops["packed_dense"] / dev.flops["method"],
            examples=len(dev.examples),
            predictions_file=save_examples(out, run, dev.examples, "predictions/dev"),
        ),
        **own,
    )
