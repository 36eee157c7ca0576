"""The fates of tokens and rows as panels: exit depth, kinds of tokens, texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pandas as pd

from tokendrop.compare.report.panel import Findings, Panel, markup
from tokendrop.compare.report.point_fates import PointFates, fates_of
from tokendrop.compare.report.texts import disagreement_panel, samples_panel
from tokendrop.compare.results.points import by_task


def token_panels(findings: Findings) -> Iterator[Panel]:
    """What became of rows, of each kind of token, and of a few texts."""
    fates = fates_of(findings.records, findings.folder)
    several_tasks = len(by_task(findings.records)) > 1
    yield from _exit_panel(fates)
    yield from _kinds_panel(fates)
    yield from samples_panel(fates, several_tasks)
    yield from disagreement_panel(fates, several_tasks)


@dataclass(frozen=True)
class Exits:
    """Of a point, the shares of rows in per cent that left after each layer, where any did."""

    name: str
    layers: int
    shares: dict[int, float]


def _exit_panel(fates: Sequence[PointFates]) -> Iterator[Panel]:
    """Where rows left, under each point of which any left early."""
    bars = []
    for fate in fates:
        if any(fate.exits[:-1]):
            rows = sum(fate.exits)
            shares = {layer: 100 * n / rows for layer, n in enumerate(fate.exits) if n}
            bars.append(Exits(fate.title, fate.layers, shares))
    if bars:
        frame = [
            {"point": bar.name, "layers": layer, "rows": share}
            for bar in bars
            for layer, share in bar.shares.items()
        ]
        yield Panel(
            name="exits",
            title="Where rows left",
            above=markup("exits", bars),
            caption="The share of the test rows that left after each layer; the number is the "
            "layer. Methods of which every row went through all layers are not shown.",
            frame=pd.DataFrame(frame),
        )


@dataclass(frozen=True)
class KindLeft:
    """The tokens of a kind: how many, and the share in per cent left after each layer."""

    kind: str
    total: int
    shares: list[float]


@dataclass(frozen=True)
class KindsLeft:
    """What is left of each kind of token under a point."""

    name: str
    layers: int
    kinds: list[KindLeft]


def _kinds_panel(fates: Sequence[PointFates]) -> Iterator[Panel]:
    """Which tokens die where, under each point that drops tokens.

    Rows that left count with the tokens that they had: what an exit ends was not dropped.
    """
    points = [
        KindsLeft(fate.title, fate.layers, [_left(*item) for item in fate.dropped.items()])
        for fate in fates
        if any(count for counts in fate.dropped.values() for count in counts[:-1])
    ]
    if points:
        frame = [
            {"point": point.name, "kind": row.kind, "layer": layer, "left": share}
            for point in points
            for row in point.kinds
            for layer, share in enumerate(row.shares, start=1)
        ]
        yield Panel(
            name="kinds",
            title="Which tokens die where",
            above=markup("kinds", points),
            caption="The share of the tokens of each kind that is left after what a layer drops. "
            "Tokens of a row that left early count as left: its exit ended them, nothing dropped "
            "them. The first piece of a word counts as the word. Function words are the English "
            "ones: articles, pronouns, prepositions, conjunctions, auxiliaries.",
            frame=pd.DataFrame(frame),
        )


def _left(kind: str, counts: Sequence[int]) -> KindLeft:
    """From the counts of a kind's tokens by the layers that they went through."""
    total = sum(counts)
    gone = accumulate(counts[:-1])
    return KindLeft(kind, total, [100 * (total - dropped) / total for dropped in gone])
