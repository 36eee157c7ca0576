"""Rows of a leaderboard that nobody ran."""

from __future__ import annotations

from dataclasses import replace

from tokendrop.compare.leaderboard.entries import Entry


def entry(
    method: str = "dense", value: float = 0.8, flops: float = 1.0, **changes: object
) -> Entry:
    dense = method == "dense"
    made = Entry(
        task="reviews",
        encoder="minilm-l6",
        method=method,
        point="default",
        kind="dense" if dense else "method",
        metric="accuracy",
        value=value,
        value_low=value - 0.02,
        value_high=value + 0.02,
        gap=None if dense else value - 0.8,
        gap_low=None if dense else value - 0.815,
        gap_high=None if dense else value - 0.785,
        flops=flops,
        clock_32=0.9 * flops,
        noise_32=0.05,
        clock_1=0.8 * flops,
        noise_1=0.3,
        train_cost=1.0 if dense else 2.5,
        tuning="by hand" if dense else "4 trials, 7.6 fine-tunings",
        seeds="1 2 3",
        train_rows="all",
        examples=1066,
        hardware="AMD EPYC, 2 threads",
        versions="tokendrop 0.1.0, torch 2.13.0",
        commit="0123456789ab",
        started="2026-01-02",
        command="tokendrop compare --config configs/compare/fair.yaml --out fair",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def entries() -> list[Entry]:
    """Two tasks, two machines, an engine, and a method that another one beats."""
    of_reviews = [
        entry(),
        entry("power_bert", 0.79, 2.0),
        entry("beaten", 0.78, 1.9),
        entry(
            "dact_bert",
            0.81,
            1.4,
            point="tight_rule",
            tuning="1 trial, 12.5 fine-tunings",
            commit="0123456789ab, 1123456789ab, 2123456789ab",
        ),
        entry("dense in ONNX Runtime", 0.8, 1.0, kind="engine", clock_32=3.0),
    ]
    elsewhere = [
        replace(one, hardware="NVIDIA H200", clock_32=1.1 * one.flops, commit="fedcba987654")
        for one in of_reviews[1:3]
    ]
    return [*of_reviews, *elsewhere, *(replace(one, task="films") for one in of_reviews)]
