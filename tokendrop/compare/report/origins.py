"""Where the numbers come from: what made them, and what the runs noted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokendrop.compare.results.points import Point, by_task
from tokendrop.compare.results.records import Record, ordered

EMPTY: tuple[Any, ...] = (None, {}, [])
"""What a run notes where there is nothing to say, such as of the code of reducers of its own."""


def notes_of(records: Sequence[Record]) -> dict[str, list[str]]:
    """Each note that runs left, with the points that left it and the tasks if those differ."""
    everyone: dict[str, dict[str, None]] = {}
    left: dict[str, dict[str, dict[str, None]]] = {}
    for record in ordered(records):
        name = Point(record.method, record.operating_point, record.task, (record,)).name
        everyone.setdefault(record.task, {})[name] = None
        for note in record.notes:
            left.setdefault(note, {}).setdefault(record.task, {})[name] = None
    notes = {}
    for note, found in left.items():
        where = {
            task: ["every method"] if names == everyone[task] else list(names)
            for task, names in found.items()
        }
        first = next(iter(where.values()))
        alike = len(where) == len(everyone) and all(names == first for names in where.values())
        notes[note] = (
            first if alike else [f"{'; '.join(who)} on {task}" for task, who in where.items()]
        )
    return notes


def machine_of(made: Mapping[str, Any]) -> str:
    """What the clock of a run depends on: its accelerators, else its processor and threads.

    Args:
        made: the provenance of a run.
    """
    machine = made["hardware"]
    if not isinstance(machine, dict):
        return str(machine)
    threads = int(made.get("threads", 1))
    chips = ", ".join(machine.get("gpus") or [])
    return chips or f"{machine['cpu']}, {threads} thread" + "s" * (threads > 1)


def provenance_of(records: Sequence[Record]) -> dict[str, str]:
    """What made the numbers, one line each; where runs differ, the range or the number of values.

    A run's configuration is left to its own record: it is long and differs in every run.
    """
    rows = {
        task: f"{of_task[0].runs[0].examples_eval} test rows"
        for task, of_task in by_task(records).items()
    }
    lines = {
        "data": "; ".join(f"{task}, {size}" for task, size in rows.items()),
        "seeds": ", ".join(str(seed) for seed in sorted({record.seed for record in records})),
        "runs": str(len(records)),
    }
    keys = dict.fromkeys(key for record in records for key in record.provenance)
    for key in keys:
        if key not in {"config", "seed"}:
            values = [found for r in records if (found := r.provenance.get(key)) not in EMPTY]
            if values:
                lines[key.replace("_", " ")] = _common(values)
    return lines


def _common(values: list[Any]) -> str:
    distinct = sorted({_line(value) for value in values})
    if len(distinct) == 1:
        return distinct[0]
    if all(isinstance(value, int | float) for value in values):
        return f"{_line(min(values))} to {_line(max(values))}"
    if len(distinct) <= 3:
        return "; ".join(distinct)
    return f"{distinct[0]} to {distinct[-1]}, {len(distinct)} values: see runs/*.json"


def _line(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_line(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
