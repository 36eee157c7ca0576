"""The rows of a leaderboard: made of comparisons that pass the checks, kept as CSV files."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from tokendrop.compare.report.origins import machine_of
from tokendrop.compare.results.analysis import analyse
from tokendrop.compare.results.joining import joined_comparisons
from tokendrop.compare.results.points import Point, points
from tokendrop.compare.results.predictions import saved_answers
from tokendrop.compare.results.records import Record
from tokendrop.compare.results.statistics import PointStatistics
from tokendrop.compare.results.trust import EDITED
from tokendrop.configs import set_for
from tokendrop.errors import UserError
from tokendrop.files import write_text
from tokendrop.measure.measures import FLOPS_UNPADDED, LATENCY, THROUGHPUT_UNPADDED, TRAIN_COST
from tokendrop.stored import first_problem

Text = Annotated[str, StringConstraints(min_length=1)]
Ratio = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]

BY_HAND = "by hand"
# what stands before the last part of a place on somebody's machine
PLACE = re.compile(r"(?<![\w.~])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"]+[/\\])*(?=[^\s/\\'\"])")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A method at an operating point on a task: means over its seeds, and what made them.

    Attributes:
        task, encoder, method, point: what ran.
        kind: "method", "dense" for models that drop nothing, or "engine" for a dense model in
            another engine.
        metric: the name of the task's metric.
        value, value_low, value_high: the metric from 0 to 1, with its 95 % interval over seeds and
            test examples.
        gap, gap_low, gap_high: the difference to dense, with its interval; None for dense.
        flops: times fewer than the same packed encoder with nothing dropped.
        clock_32, clock_1: times more rows per second than that encoder, 32 rows at a time and one.
        noise_32, noise_1: of these ratios, relative.
        train_cost: FLOPs of all training in multiples of the fine-tuning that methods share.
        tuning: what finding its setting took, "by hand" where no budget was kept.
        seeds: one after the other.
        train_rows: that were trained on, "all" of the split where none were left out.
        examples: rows of the test split.
        hardware, versions, commit, started, command: as the runs recorded them.
    """

    task: Text
    encoder: Text
    method: Text
    point: Text
    kind: Annotated[str, StringConstraints(pattern="^(method|dense|engine)$")]
    metric: Text
    value: float
    value_low: float
    value_high: float
    gap: float | None
    gap_low: float | None
    gap_high: float | None
    flops: Ratio
    clock_32: Ratio
    noise_32: NotNegative
    clock_1: Ratio
    noise_1: NotNegative
    train_cost: NotNegative
    tuning: Text
    seeds: Annotated[str, StringConstraints(pattern=r"^\d+( \d+)*$")]
    train_rows: Annotated[str, StringConstraints(pattern=r"^(all|[1-9]\d*)$")]
    examples: Annotated[int, Field(gt=0)]
    hardware: Text
    versions: Text
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{7,40}(, [0-9a-f]{7,40})*$")]
    started: Text
    command: Text

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.method} ({self.point}) on {self.task}, {self.encoder}"


def entries_of(folders: Sequence[Path]) -> list[Entry]:
    """The entries of one comparison, which may lie in several folders.

    Raises:
        UserError: a run cannot be believed: its record was edited, does not say what made it, or
            says another metric than its answers give; or one has no answers.
    """
    records, floors = joined_comparisons(folders)
    for record in records:
        _check(record)
    known = analyse(records, floors, folders[0])
    return [_entry(point, known.statistics[point.key]) for point in points(records)]


def _check(record: Record) -> None:
    """Refuse a run that cannot be believed. Its answers are named by their whole path."""
    name = f"{record.method} ({record.operating_point}), {record.task}, seed {record.seed}"
    # raises where the answers give another metric than the record says
    if saved_answers(record, Path()) is None:
        raise UserError(
            f"{name}: its answers are missing, so nobody can check its {record.metric}: give the "
            "whole folder that 'tokendrop compare' wrote, with predictions/"
        )
    if EDITED in str(record.details.get("caveat", "")):
        raise UserError(f"{name}: its record was edited: run the comparison again to measure it")
    made = record.provenance
    for fact in ("command", "versions", "git_commit", "hardware", "started"):
        if not made.get(fact):
            raise UserError(
                f"{name}: its record does not say its {fact.replace('_', ' ')}: delete it under "
                "runs/ and run the comparison again from a git checkout of tokendrop, so that "
                "others can repeat it"
            )
    if str(made["git_commit"]).endswith("+"):
        raise UserError(
            f"{name}: it was run from a checkout with changes that are in no commit "
            f"({made['git_commit']}): commit them, delete its record under runs/ and run the "
            "comparison again, which measures it anew"
        )


def _entry(point: Point, known: PointStatistics) -> Entry:
    first, gap = point.runs[0], known.difference
    low, high = known.interval or (known.mean, known.mean)

    def every(say: Callable[[Record], str]) -> str:
        return ", ".join(dict.fromkeys(say(run) for run in point.runs))

    return Entry(
        task=point.task,
        encoder=every(lambda run: _encoder(run.provenance.get("config", {}))),
        method=point.title,
        point=point.operating_point,
        kind="engine" if point.engine else "dense" if point.is_reference else "method",
        metric=first.metric,
        value=known.mean,
        value_low=low,
        value_high=high,
        gap=gap.value if gap else None,
        gap_low=gap.low if gap else None,
        gap_high=gap.high if gap else None,
        flops=point.mean(FLOPS_UNPADDED),
        clock_32=point.mean(THROUGHPUT_UNPADDED),
        noise_32=point.noise(THROUGHPUT_UNPADDED),
        clock_1=point.mean(LATENCY),
        noise_1=point.noise(LATENCY),
        train_cost=point.mean(TRAIN_COST),
        tuning=_tuning(first.details.get("tuning")),
        seeds=" ".join(str(run.seed) for run in point.runs),
        train_rows=every(lambda run: _train_rows(run.provenance.get("config", {}), run.task)),
        examples=first.examples_eval,
        hardware=every(lambda run: machine_of(run.provenance)),
        versions=every(lambda run: _versions(run.provenance["versions"])),
        commit=every(lambda run: str(run.provenance["git_commit"])[:12]),
        started=min(str(run.provenance["started"]) for run in point.runs)[:10],
        command=without_places(str(first.provenance["command"])),
    )


def without_places(command: str) -> str:
    """A command without the folders of the machine that it ran on.

    >>> without_places("tokendrop compare --config configs/a.yaml --out /home/me/runs/a")
    'tokendrop compare --config configs/a.yaml --out a'
    """
    return PLACE.sub("", command)


def _encoder(config: dict[str, Any]) -> str:
    """The name of the backbone, without the folders that it lies in.

    >>> _encoder({"backbone": "runs/models/mpnet"}), _encoder({"backbone": "microsoft/mpnet"})
    ('mpnet', 'microsoft/mpnet')
    """
    name = without_places(str(config.get("backbone", "unknown")))
    if name.count("/") > 1:  # a name of the Hub has one
        name = name.rpartition("/")[2]
    return f"{name}, random weights" if config.get("random_init") else name


def _train_rows(config: dict[str, Any], task: str) -> str:
    """What the comparison says for the task, else for all tasks."""
    own = set_for(task, config.get("task_data") or {})
    return str(own.get("train_rows") or (config.get("data") or {}).get("train_rows") or "all")


def _tuning(tuned: dict[str, Any] | None) -> str:
    if not tuned:
        return BY_HAND
    trials = f"{tuned['trials']} trial" + "s" * (tuned["trials"] > 1)
    return f"{trials}, {tuned['cost']:.1f} fine-tunings"


def _versions(versions: dict[str, str]) -> str:
    told = ("tokendrop", "torch", "transformers")
    return ", ".join(f"{name} {versions[name]}" for name in told if name in versions)


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Write the rows as a CSV file."""
    write_text(path, pd.DataFrame([asdict(entry) for entry in entries]).to_csv(index=False))


def read_entries(path: Path) -> list[Entry]:
    """The rows of a CSV file, checked.

    Raises:
        UserError: a row lacks what an entry has, or says what no run can have given.
    """
    adapter = TypeAdapter(Entry)
    try:
        # with the mark that spreadsheets put in front
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path} as a CSV file ({error})") from error
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            given = {key: value for key, value in row.items() if key is not None}
            gaps = {key: given.get(key) or None for key in ("gap", "gap_low", "gap_high")}
            entry = adapter.validate_python(given | gaps, extra="forbid")
        except ValidationError as error:
            raise UserError(
                f"{path}, line {number}: {first_problem(error)}; its columns are "
                f"{', '.join(field.name for field in fields(Entry))}: write it by 'tokendrop "
                "leaderboard FOLDER --out FILE.csv'"
            ) from error
        if not _near_its_interval(entry):
            raise UserError(f"{path}, line {number}: {entry.name} lies outside of its own interval")
        found.append(entry)
    if not found:
        raise UserError(f"{path} has no rows")
    return found


def _near_its_interval(entry: Entry) -> bool:
    """Whether the metric is one that the interval can be of.

    It may lie a little outside: F1 of many rare classes is lower on resamples, which lack examples.
    """
    width = entry.value_high - entry.value_low
    return entry.value_low - width <= entry.value + 1e-9 and (
        entry.value - 1e-9 <= entry.value_high + width
    )
