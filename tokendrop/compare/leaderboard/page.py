"""The leaderboard as one page that needs nothing beside it: sorting, filters, fronts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokendrop.compare.leaderboard.entries import Entry
from tokendrop.compare.report.panel import REPORT, templates
from tokendrop.compare.report.tables import ABOUT, show_gap
from tokendrop.compare.results.fronts import pareto_front
from tokendrop.files import write_text
from tokendrop.measure.measures import VALUE, within_noise

HERE = Path(__file__).parent
TEMPLATES = templates(HERE, REPORT)  # the looks are the report's


@dataclass(frozen=True)
class Axis:
    """What quality is held against, and among whom.

    Attributes:
        name: of the choice on the page, and of what is saved in an entry, where more is better.
        column: that shows it.
        title: for people.
        among: entries with the same are on one front.
        noise: what is called in an entry how far a ratio of the clock may be from 1 by chance; None
            where nothing is timed.
    """

    name: str
    column: str
    title: str
    among: Callable[[Entry], Hashable]
    noise: str | None = None

    def saved(self, entry: Entry) -> float:
        """How many times less it takes."""
        return float(getattr(entry, self.name))

    def shows(self, entry: Entry) -> bool:
        """Whether what is seen of a method is more than noise."""
        return self.noise is None or not within_noise(self.saved(entry), getattr(entry, self.noise))


def _of_task(entry: Entry) -> Hashable:
    return entry.task, entry.encoder, entry.metric, entry.train_rows, entry.examples


def _of_machine(entry: Entry) -> Hashable:
    return _of_task(entry), entry.hardware


AXES = (
    Axis("flops", "FLOPs", "FLOPs", _of_task),
    Axis("clock_32", "32 rows", "32 rows at a time", _of_machine, "noise_32"),
    Axis("clock_1", "1 row", "one row alone", _of_machine, "noise_1"),
)


@dataclass(frozen=True)
class Cell:
    """A cell: its text, what stands small below it, and what it is sorted by."""

    text: str
    below: str = ""
    key: float | str = ""


@dataclass(frozen=True)
class Row:
    """An entry on the page, with the names of the axes on whose fronts it is."""

    entry: Entry
    cells: list[Cell]
    fronts: list[str]


COLUMNS = {
    "Task": "the data set, how many of its rows were trained on, and how many of the test split "
    "were answered.",
    "Encoder": "the pretrained model that all methods of the comparison began with.",
    "Method": "the method, and its operating point. A dense model in an engine is a yardstick: it "
    "is on no front.",
    "Metric": "on the test split, with the 95 % interval over seeds and examples.",
    "vs dense": "the difference to the dense model of the same comparison, of several the one that "
    "was best on dev, in points of a per cent, with its 95 % interval from paired resamples. Where "
    "that holds 0, the two are not told apart.",
    "FLOPs": "times fewer than the same packed encoder with nothing dropped.",
    "32 rows": "times more rows per second than that encoder, 32 rows at a time.",
    "1 row": "times faster than that encoder on one row alone.",
    "Training": "FLOPs of all training, in multiples of the fine-tuning that the methods share.",
    "Tuning": "what finding the setting took, in multiples of the same; by hand: nobody counted.",
    "Seeds": "how many random seeds the numbers are means of.",
    "Made with": "the hardware; the commit of tokendrop and the command lie below it.",
}
TEXT = ("Task", "Encoder", "Method", "Made with")


def fronts(entries: Sequence[Entry], axis: Axis) -> set[int]:
    """The places of entries that no other of their group beats.

    Engines take no part, and methods of which noise is all that is seen.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, entry in enumerate(entries):
        if entry.kind == "dense" or (entry.kind == "method" and axis.shows(entry)):
            groups.setdefault(axis.among(entry), []).append(place)
    found = set[int]()
    for places in groups.values():
        saved = [axis.saved(entries[place]) for place in places]
        values = [entries[place].value for place in places]
        found |= {places[index] for index in pareto_front(saved, values)}
    return found


def _span(low: float | None, high: float | None, show: Callable[[float], str]) -> str:
    return "" if low is None or high is None else f"{show(low)} to {show(high)}"


def _clock(ratio: float, noise: float) -> Cell:
    about = ABOUT if within_noise(ratio, noise) else ""
    return Cell(f"{about}{ratio:.2f}x", f"±{noise:.2f}", ratio)


def _percent(value: float) -> str:
    return VALUE.show(value).removesuffix(" %")


def _row(entry: Entry, on: list[str]) -> Row:
    gap = Cell("") if entry.gap is None else Cell(show_gap(entry.gap), key=entry.gap)
    seeds = len(entry.seeds.split())
    trials, _, cost = entry.tuning.partition(", ")
    spent = re.match(r"\d+(\.\d+)?", cost)  # a file that somebody sent may say something else
    cells = [
        Cell(entry.task, f"{entry.train_rows} / {entry.examples} rows", entry.task),
        Cell(entry.encoder, key=entry.encoder),
        Cell(entry.method, entry.point, entry.method),
        Cell(
            VALUE.show(entry.value),
            f"{_span(entry.value_low, entry.value_high, _percent)}, {entry.metric}",
            entry.value,
        ),
        Cell(gap.text, _span(entry.gap_low, entry.gap_high, show_gap), gap.key),
        Cell(f"{entry.flops:.2f}x", key=entry.flops),
        _clock(entry.clock_32, entry.noise_32),
        _clock(entry.clock_1, entry.noise_1),
        Cell(f"{entry.train_cost:.2f}", key=entry.train_cost),
        Cell(trials, cost, float(spent[0]) if spent else ""),
        Cell(str(seeds), key=seeds),
        Cell(entry.hardware, key=entry.hardware),
    ]
    return Row(entry, cells, on)


def write_page(path: Path, entries: Sequence[Entry]) -> None:
    """Write the page.

    Args:
        path: of the HTML file.
        entries: of any number of comparisons, at least one.
    """
    on_front = {axis.name: fronts(entries, axis) for axis in AXES}
    rows = [
        _row(entry, [name for name, places in on_front.items() if place in places])
        for place, entry in enumerate(entries)
    ]
    choices = {
        name: sorted({getattr(entry, name) for entry in entries})
        for name in ("task", "encoder", "hardware")
    }
    script = (HERE / "leaderboard.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = TEMPLATES.get_template("leaderboard.html.jinja").render(
        rows=rows, columns=COLUMNS, text=TEXT, choices=choices, axes=AXES, about=ABOUT,
        axis_of={axis.column: axis.name for axis in AXES}, script=script, digest=digest,
    )  # fmt: skip
    write_text(path, page)
