"""The fates of tokens and rows as panels: exit depth, kinds of tokens, texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokendrop.compare.results.fates import Fates, Sample, read_fates
from tokendrop.compare.results.records import DENSE, Point, Record, by_task


@dataclass(frozen=True)
class Fate:
    """What became of the tokens of a point, summed over its seeds; texts are of the first."""

    point: Point
    title: str
    layers: int
    exits: list[int]
    dropped: dict[str, list[int]]
    samples: list[Sample]


def fates_of(records: Sequence[Record], folder: Path) -> list[Fate]:
    """Of each point whose runs saved them.

    Raises:
        UserError: a file that a record names is missing or torn.
    """
    several = len(by_task(records)) > 1
    found = []
    for of_task in by_task(records).values():
        for point in of_task:
            saved = [read_fates(folder / run.fates_file) for run in point.runs if run.fates_file]
            if saved:
                title = f"{point.name}, {point.task}" if several else point.name
                found.append(_summed(point, title, saved))
    return found


def _summed(point: Point, title: str, saved: Sequence[Fates]) -> Fate:
    first = saved[0]
    kinds = dict.fromkeys(kind for one in saved for kind in one.dropped)
    dropped = {
        kind: _sum([one.dropped[kind] for one in saved if kind in one.dropped]) for kind in kinds
    }
    return Fate(
        point, title, first.layers, _sum([one.exits for one in saved]), dropped, first.samples
    )


def _sum(counts: Sequence[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*counts, strict=True)]


def exit_panel(fates: Sequence[Fate]) -> list[dict[str, Any]]:
    """The share of rows that left after each layer, of each point of which any left early."""
    return [
        {
            "name": fate.title,
            "shares": [
                {"layer": layer, "share": 100 * count / sum(fate.exits)}
                for layer, count in enumerate(fate.exits)
                if count
            ],
            "layers": fate.layers,
        }
        for fate in fates
        if any(fate.exits[:-1])
    ]


def kinds_panel(fates: Sequence[Fate]) -> list[dict[str, Any]]:
    """Of each point that drops tokens, the share of each kind left after each layer's decisions.

    Rows that left count with the tokens that they had: what an exit ends was not dropped.
    """
    panel = []
    for fate in fates:
        if not any(count for counts in fate.dropped.values() for count in counts[:-1]):
            continue
        rows = []
        for kind, counts in fate.dropped.items():
            left = total = sum(counts)
            shares = []
            for count in counts[:-1]:
                left -= count
                shares.append(100 * left / total)
            rows.append({"kind": kind, "total": total, "shares": shares})
        panel.append({"name": fate.title, "layers": fate.layers, "kinds": rows})
    return panel


def samples_panel(fates: Sequence[Fate]) -> list[dict[str, Any]]:
    """Each text under each method that kept not all of it, or that left it early."""
    texts: dict[tuple[str, str], dict[str, Any]] = {}
    for fate in fates:
        if fate.point.method == DENSE:
            continue
        for sample in fate.samples:
            if all(depth == fate.layers for depth in sample.depth):
                continue
            key = fate.point.task, "".join(sample.words)
            text = texts.setdefault(
                key,
                {
                    "task": fate.point.task,
                    "label": sample.label,
                    "cut": sample.tokens - len(sample.words),
                    "methods": [],
                    "start": "".join(sample.words[1:9]).strip(),
                },
            )
            text["methods"].append(
                {
                    "name": fate.point.name,
                    "answer": sample.answer,
                    "left": sample.left if sample.left < fate.layers else None,
                    "layers": fate.layers,
                    "words": [
                        # a clear step between dropped and kept, then by depth
                        {"text": text_, "depth": depth, "shade": _shade(depth, fate.layers)}
                        for text_, depth in zip(sample.words, sample.depth, strict=True)
                    ],
                }
            )
    return list(texts.values())


def _shade(depth: int, layers: int) -> float:
    """Opacity of a token in the view of all layers: whole only if it went through all."""
    return 1.0 if depth == layers else round(0.22 + 0.5 * depth / layers, 3)
