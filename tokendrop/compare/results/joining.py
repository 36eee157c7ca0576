"""Several comparisons as one: more methods, more seeds, more tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokendrop.compare.results.floor import Floor, read_floors
from tokendrop.compare.results.records import Record, RunKey, ordered, records_of
from tokendrop.configs import differences
from tokendrop.errors import UserError
from tokendrop.measure.measures import LAYERS

CURE = "report on them one by one"

PLACES = {"dataset", "dir", "train", "dev", "test", "files"}
"""The settings of data that say where rows lie."""

POINT = ("reducer", "budget", "search", "recipe")
"""The settings that the seeds of an operating point share, beside those of the task."""

# what two runs of the same settings agree in: all but what depends on the clock
OUTCOMES = ("metric", "metrics", "kept_tokens_per_layer", LAYERS.name, "flops")


def joined_comparisons(folders: Sequence[Path]) -> tuple[list[Record], list[Floor]]:
    """The runs and floors of several comparisons, their files named by whole paths.

    Args:
        folders: of comparisons. A run that lies in several counts once, as the first has it.

    Raises:
        UserError: a folder without runs; the same run with different outcomes; runs of a task
            that cannot be compared, for another metric, other rows, or another backbone, type of
            its weights or shared fine-tuning; or of a point that were made with other settings.
    """
    every = [(record, folder) for folder in folders for record in records_of(folder)]
    _comparable(every)
    runs: dict[RunKey, tuple[Record, Path]] = {}
    for record, folder in every:
        first, place = runs.setdefault(record.key, (record, folder))
        if not _same_outcome(first, record):
            raise UserError(
                f"{_name(record)}, seed {record.seed}, was run in {place} and in {folder} with "
                f"other outcomes ({record.metric} {first.value:.6g} and {record.value:.6g}): give "
                f"one of them another name, or {_apart(place, folder)}"
            )
    floors: dict[str, tuple[Floor, Path]] = {}
    for folder in folders:
        for floor in read_floors(folder):
            known, place = floors.setdefault(floor.task, (floor, folder))
            if (known.metric, known.value) != (floor.metric, floor.value):
                raise UserError(
                    f"the floors of {floor.task} in {place} and {folder} differ: "
                    + _apart(place, folder)
                )
    records = [_with_paths(record, folder) for record, folder in runs.values()]
    return ordered(records), [floors[task][0] for task in sorted(floors)]


def _comparable(runs: Sequence[tuple[Record, Path]]) -> None:
    """Refuse runs of a task that were measured in another way than its first, or of a point."""
    firsts: dict[str, tuple[Record, Path]] = {}
    points: dict[str, tuple[Record, Path]] = {}
    for record, folder in runs:
        first, place = firsts.setdefault(record.task, (record, folder))
        for what, ours, theirs in (
            ("metric", record.metric, first.metric),
            ("number of test rows", record.examples_eval, first.examples_eval),
            ("backbone", _backbone(record), _backbone(first)),
            ("set of weights of the backbone", *(_weights(one) for one in (record, first))),
            ("shared fine-tuning", _fine_tuning(record), _fine_tuning(first)),
            *_data(record, first),
            ("type of weights", record.evaluate_in, first.evaluate_in),
            ("precision", *(_setting(one, "precision") for one in (record, first))),
            ("patience", *(f"{_setting(one, 'patience')}" for one in (record, first))),
        ):
            # a version may not have noted it
            if None not in (ours, theirs) and ours != theirs:
                raise UserError(
                    f"{record.task} has another {what} in {folder} ({ours}) than in {place} "
                    f"({theirs}), so its runs cannot be compared: {_apart(place, folder)}"
                )
        first, place = points.setdefault(_name(record), (record, folder))
        for what, theirs, ours in _settings_of_point(first, record):
            raise UserError(
                f"{_name(record)}, was run with {what} {theirs} in {place} (seed {first.seed}) and "
                f"{ours} in {folder} (seed {record.seed}), which are no seeds of one point: give "
                f"one of them another name, or {_apart(place, folder)}"
            )


def _apart(one: Path, other: Path) -> str:
    """How runs of two folders, or of one, come into two reports."""
    if one == other:
        return f"copy {one}, leave in the runs/ of each only what goes together, and {CURE}"
    return CURE


def _name(record: Record) -> str:
    return f"{record.method} ({record.operating_point}), {record.task}"


def _settings_of_point(one: Record, other: Record) -> Iterator[tuple[str, Any, Any]]:
    """The settings of a point that two runs have made otherwise, where both have noted them."""
    mine, yours = (run.provenance.get("config", {}) for run in (one, other))
    noted = [name for name in POINT if name in mine and name in yours]
    before, now = ({name: run[name] for name in noted} for run in (mine, yours))
    return differences(before, now)


def _backbone(record: Record) -> str:
    name, changes = _setting(record, "backbone"), _setting(record, "random_init") or {}
    return f"{name}" + (f" with random weights, {dict(sorted(changes.items()))}" if changes else "")


def _weights(record: Record) -> Any:
    return record.provenance.get("backbone_fingerprint")


def _fine_tuning(record: Record) -> str:
    stage = _setting(record, "fine_tune") or {}
    return ", ".join(f"{name} {value}" for name, value in sorted(stage.items())) or "none"


def _setting(record: Record, name: str) -> Any:
    return record.provenance.get("config", {}).get(name)


def _data(record: Record, first: Record) -> Iterator[tuple[str, Any, Any]]:
    """Where rows, tokens or batches differ: the settings that say so, then what they are known by.

    Where the rows lie is no such setting, as the same ones may lie in two places.
    """
    mine, known = (run.provenance.get("data_fingerprint") for run in (record, first))
    if None in (mine, known) or mine == known:
        return
    ours, theirs = (_setting(run, "data") or {} for run in (record, first))
    for name in sorted((ours.keys() | theirs.keys()) - PLACES):
        yield f"data.{name}", str(ours.get(name, "unset")), str(theirs.get(name, "unset"))
    yield "set of rows", mine, known


def _same_outcome(one: Record, other: Record) -> bool:
    return all(_close(getattr(one, name), getattr(other, name)) for name in OUTCOMES)


def _close(one: Any, other: Any) -> bool:
    """Equal but for the last digits of numbers, which differ from machine to machine."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _close(*pair) for pair in zip(one, other, strict=True)
        )
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9) or (
            math.isnan(one) and math.isnan(other)
        )
    return bool(one == other)


def _with_paths(record: Record, folder: Path) -> Record:
    """The record with its files named by whole paths, whatever folder they are sought in."""

    def whole(file: str | None) -> str | None:
        return file and str((folder / file).resolve())

    return replace(
        record,
        predictions_file=whole(record.predictions_file),
        fates_file=whole(record.fates_file),
        dev=record.dev
        and replace(record.dev, predictions_file=str(whole(record.dev.predictions_file))),
    )
