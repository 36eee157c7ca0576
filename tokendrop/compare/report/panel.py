"""What a panel of the report is: a section of the page, and its numbers for trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tokendrop.compare.results.analysis import Analysis
from tokendrop.compare.results.records import Record

REPORT = Path(__file__).parent


def templates(*folders: Path) -> Environment:
    """The templates of pages that lie in some folders; of equal names the first one's."""
    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


TEMPLATES = templates(REPORT)


@dataclass(frozen=True)
class Findings:
    """What panels are made of.

    Attributes:
        folder: where the files that the records name lie.
        records: of the runs, at least one.
        analysis: what follows from them.
    """

    folder: Path
    records: Sequence[Record]
    analysis: Analysis


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A section of the report: a heading, and a caption between what stands above and below it.

    Attributes:
        name: of its frame, where a tracker shows it.
        title: its heading.
        caption: what is to be seen, empty where that needs no words.
        above, below: HTML as ``Markup``, e.g. a picture above its caption or a table below it; of
            other texts each sign is shown as it is.
        frame: the numbers that it shows, None where they stand elsewhere.
        css: class of the section.
        style: rules of its own for the page, as ``Markup``.
        beside: where there is room, it stands beside its neighbours that say the same.
    """

    name: str
    title: str
    caption: str = ""
    above: str = ""
    below: str = ""
    frame: pd.DataFrame | None = None
    css: str = ""
    style: str = ""
    beside: bool = False


Panels = Callable[[Findings], Iterable[Panel]]
"""The panels of a kind for which the findings hold something to show."""


def markup(macro: str, *arguments: Any) -> Markup:
    """HTML from one of the macros in ``panels.html.jinja``."""
    module: Any = TEMPLATES.get_template("panels.html.jinja").module
    return Markup(getattr(module, macro)(*arguments))


def titled_tables(tables: Sequence[tuple[str, pd.DataFrame]]) -> Markup:
    """Tables below each other, each under its title if it has one."""
    return Markup("").join(
        markup("titled_table", title, list(frame.columns), frame.to_numpy().tolist())
        for title, frame in tables
    )
