"""The figures as panels: a picture for each task, drawn for light paper and for dark."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from io import BytesIO
from itertools import groupby

from tokendrop.compare.report.canvas import Drawing
from tokendrop.compare.report.figures import KEPT_FIGURE, TRAINING_FIGURE, drawings
from tokendrop.compare.report.panel import Findings, Panel, markup
from tokendrop.compare.results.points import by_task, runs_of
from tokendrop.measure.measures import TRADE_OFFS
from tokendrop.themes import DARK, LIGHT

HEADINGS = {
    **{shown.name: (shown.title, shown.caption) for _, shown in TRADE_OFFS},
    KEPT_FIGURE: (
        "Tokens processed in each layer",
        "Mean share of a text's tokens that a layer worked on. A row that has left early counts "
        "with none of its tokens.",
    ),
}
"""Title and caption of each figure that has one picture for each task."""


def figure_panels(findings: Findings) -> Iterator[Panel]:
    """The trade-offs and the kept tokens.

    Pictures of one panel stand beside each other or, on a phone, below each other.
    """
    pictures: dict[str, list[str]] = {}
    for of_task in by_task(findings.records).values():
        found = drawings(runs_of(of_task), findings.analysis.statistics, findings.records)
        for name, drawing in found.items():
            if name in HEADINGS:
                pictures.setdefault(name, []).append(image(drawing))
    for name, (title, caption) in HEADINGS.items():
        if name in pictures:
            yield Panel(
                name=name,
                title=title,
                above=markup("pictures", title, pictures[name]),
                caption=caption,
                css="wide" if len(pictures[name]) > 1 else "",
                beside=True,
            )


def training_panel(findings: Findings) -> Iterator[Panel]:
    """The curves of training, a picture for each method of each task."""
    pictures = []
    for of_task in by_task(findings.records).values():
        for _, mine in groupby(of_task, key=lambda point: point.method):
            found = drawings(runs_of(mine), findings.analysis.statistics, findings.records)
            drawing = found.get(TRAINING_FIGURE)
            if drawing:
                pictures.append(image(drawing))
    if pictures:
        yield Panel(
            name=TRAINING_FIGURE,
            title="Training",
            above=markup("pictures", "Training", pictures),
            caption="The metric on the dev split after each epoch; a vertical line begins a stage.",
            css="wide",
        )


def image(drawing: Drawing) -> str:
    """A figure as a source, drawn for light paper and recoloured by the viewer for dark."""
    buffer = BytesIO()
    drawing(buffer, LIGHT)
    style = f"<style>@media (prefers-color-scheme: dark) {{ {RECOLOURED} }}</style></svg>"
    picture = buffer.getvalue().decode().replace("</svg>", style)
    return f"data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()}"


# colours stand in the style of each element; a rule of its own is stronger only if it insists
RECOLOURED = " ".join(
    f'[style*="{what}: {light}"] {{ {what}: {dark} !important }}'
    for light, dark in zip(LIGHT.colors, DARK.colors, strict=True)
    for what in ("fill", "stroke")
)
