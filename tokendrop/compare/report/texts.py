"""Texts, and what methods left of them: the same few under all, and those they disagree on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from tokendrop.compare.report.panel import Panel, markup
from tokendrop.compare.report.point_fates import PointFates
from tokendrop.compare.results.fates import Sample, spread
from tokendrop.compare.results.points import dense_point
from tokendrop.tasks import kind_named

SHOWN = 6
"""Texts that are shown under all methods."""
MOST = 3
"""Texts that a point has wrong and dense right, and as many the other way around."""


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


def samples_panel(fates: Sequence[PointFates], several_tasks: bool) -> Iterator[Panel]:
    """What is left of each text under each method that kept not all of it, or left it early."""
    texts: dict[tuple[str, int], Text] = {}
    for fate in fates:
        rows = list(fate.samples)
        for row in (rows[place] for place in spread(len(rows), SHOWN)):
            sample = fate.samples[row]
            whole = all(depth == fate.layers for depth in sample.depth)
            if fate.point.is_reference or whole:
                continue
            text = texts.setdefault((fate.point.task, row), _text_of(fate, sample))
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


def disagreement_panel(fates: Sequence[PointFates], several_tasks: bool) -> Iterator[Panel]:
    """Of the texts that runs saved those that one has right and the other wrong."""
    texts: list[Text] = []
    for _, group in groupby(fates, key=lambda fate: fate.point.task):
        of_task = list(group)
        dense = dense_point([fate.point for fate in of_task])
        theirs = [fate for fate in of_task if dense and fate.point.key == dense.key]
        if theirs and kind_named(theirs[0].point.runs[0].kind).right_or_wrong:
            texts += _texts(theirs[0], [fate for fate in of_task if not fate.point.is_reference])
    if texts:
        yield Panel(
            name="disagreements",
            title="Where a method and dense disagree",
            caption="Of the texts that the runs of the first seed saved, those that dense has "
            "right and the method wrong, and the other way around; they are too few to count. A "
            "word is the fainter the earlier it was dropped.",
            below=markup("samples", texts, several_tasks),
            css="texts",
        )


def _texts(dense: PointFates, methods: Sequence[PointFates]) -> list[Text]:
    """The texts of a task that any method disagrees on, each read by dense and these methods."""
    found: dict[int, Text] = {}
    own = dense.samples
    for fate in methods:
        left = {True: MOST, False: MOST}
        for row, sample in fate.samples.items():
            right = _right(sample)
            if row not in own or right == _right(own[row]) or not left[right]:
                continue
            left[right] -= 1
            if row not in found:
                found[row] = _text_of(dense, own[row])
                found[row].methods.append(_reading(dense, own[row]))
            found[row].methods.append(_reading(fate, sample))
    return list(found.values())


def _right(sample: Sample) -> bool:
    return sample.answer == sample.label


def _text_of(fate: PointFates, sample: Sample) -> Text:
    """A text that nobody has read yet."""
    start, cut = "".join(sample.words[1:9]).strip(), sample.tokens - len(sample.words)
    return Text(fate.point.task, sample.label, start, cut, [])


def _reading(fate: PointFates, sample: Sample) -> Reading:
    """A text as a point read it."""
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
