"""The fates of tokens and rows as panels: exit depth, kinds of tokens, texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pandas as pd

from tokendrop.compare.report.panel import Findings, Panel, markup
from tokendrop.compare.results.fates import Fates, Sample, read_fates
from tokendrop.compare.results.records import Point, Record, by_task


@dataclass(frozen=True)
class PointFates:
    """What became of the tokens of a point: counts over all seeds, and texts of the first one."""

    point: Point
    title: str
    layers: int
    exits: list[int]
    dropped: dict[str, list[int]]
    samples: list[Sample]


def fates_of(records: Sequence[Record], folder: Path) -> list[PointFates]:
    """Of each point whose runs saved them.

    Raises:
        UserError: a file that a record names is missing or torn.
    """
    several_tasks = len(by_task(records)) > 1
    found = []
    for of_task in by_task(records).values():
        for point in of_task:
            saved = [read_fates(folder / run.fates_file) for run in point.runs if run.fates_file]
            if saved:
                title = f"{point.name}, {point.task}" if several_tasks else point.name
                found.append(_summed(point, title, saved))
    return found


def _summed(point: Point, title: str, saved: Sequence[Fates]) -> PointFates:
    first = saved[0]
    kinds = dict.fromkeys(kind for one in saved for kind in one.dropped)
    dropped = {
        kind: _sum([one.dropped[kind] for one in saved if kind in one.dropped]) for kind in kinds
    }
    return PointFates(
        point, title, first.layers, _sum([one.exits for one in saved]), dropped, first.samples
    )


def _sum(counts: Sequence[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*counts, strict=True)]


def token_panels(findings: Findings) -> Iterator[Panel]:
    """What became of rows, of each kind of token, and of a few texts."""
    fates = fates_of(findings.records, findings.folder)
    yield from _exit_panel(fates)
    yield from _kinds_panel(fates)
    yield from _samples_panel(fates, len(by_task(findings.records)) > 1)


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


@dataclass(frozen=True)
class Word:
    """A token as text, the layers it went through, and its opacity in the view of all layers."""

    text: str
    depth: int
    shade: float


@dataclass(frozen=True)
class Reading:
    """A text as a method read it; ``left`` is the layer after which the row left early."""

    name: str
    answer: str
    left: int | None
    layers: int
    words: list[Word]


@dataclass(frozen=True)
class Text:
    """A text, how many of its tokens are not shown, and how methods read it."""

    task: str
    label: str
    start: str
    cut: int
    methods: list[Reading]


def _samples_panel(fates: Sequence[PointFates], several_tasks: bool) -> Iterator[Panel]:
    """What is left of each text under each method that kept not all of it, or left it early."""
    texts: dict[tuple[str, str], Text] = {}
    for fate in fates:
        for sample in fate.samples:
            whole = all(depth == fate.layers for depth in sample.depth)
            if fate.point.is_reference or whole:
                continue
            key = fate.point.task, "".join(sample.words)
            start, cut = "".join(sample.words[1:9]).strip(), sample.tokens - len(sample.words)
            text = texts.setdefault(key, Text(fate.point.task, sample.label, start, cut, []))
            text.methods.append(_reading(fate, sample))
    if texts:
        deepest = max(fate.layers for fate in fates)
        yield Panel(
            name="samples",
            title="What is left of a text",
            above=markup("layer_choice", deepest),
            caption="A word is the fainter the earlier it was dropped; with a layer chosen, only "
            "what went through that layer is full.",
            below=markup("samples", list(texts.values()), several_tasks),
            css="texts",
            style=markup("layer_rules", deepest),
        )


def _reading(fate: PointFates, sample: Sample) -> Reading:
    return Reading(
        name=fate.point.name,
        answer=sample.answer,
        left=sample.left if sample.left < fate.layers else None,
        layers=fate.layers,
        words=[
            # a clear step between dropped and kept, then by depth
            Word(text, depth, _shade(depth, fate.layers))
            for text, depth in zip(sample.words, sample.depth, strict=True)
        ],
    )


def _shade(depth: int, layers: int) -> float:
    """Opacity of a token in the view of all layers: whole only if it went through all."""
    return 1.0 if depth == layers else round(0.22 + 0.5 * depth / layers, 3)
