"""The sentences that a summary, a terminal and a page have alike, beside their tables."""

from __future__ import annotations

from collections.abc import Sequence

from tokendrop.compare.report.origins import machine_of
from tokendrop.compare.report.verdict import enumerated, verdict
from tokendrop.compare.report.yardsticks import yardsticks
from tokendrop.compare.results.analysis import Analysis
from tokendrop.compare.results.floor import Floor
from tokendrop.compare.results.points import Point, by_task, dense_point
from tokendrop.compare.results.records import Record


def findings(analysis: Analysis) -> list[str]:
    """What the numbers say, of the methods and of the engines beside them."""
    return [*verdict(analysis.budgets), *yardsticks(analysis.engines)]


def below_the_table(records: Sequence[Record], floors: Sequence[Floor]) -> list[str]:
    """What is to be known to read the table: its dense models, the floors, and the clocks."""
    said = (floor.sentence for floor in floors)
    return [*references(records), *said, *several_machines(records)]


def references(records: Sequence[Record]) -> list[str]:
    """A sentence for each task that has several models which drop nothing: which one is dense."""
    sentences = []
    for task, of_task in by_task(records).items():
        every = [point for point in of_task if point.is_reference]
        dense = dense_point(of_task)
        if dense is None or len(every) < 2:
            continue
        as_many = [point for point in every if len(point.runs) == len(dense.runs)]
        beside = [point for point in as_many if point.key != dense.key]
        fewer = [point for point in every if len(point.runs) < len(dense.runs)]
        sentence = f"On {task} methods are compared with {dense.name}"
        if beside:
            sentence += f", {_against(dense, beside)} {_names(beside)}"
        if fewer:
            seeds = "has" if len(fewer) == 1 else "have"
            sentence += f", and not with {_names(fewer)}, which {seeds} run with fewer seeds"
        sentences.append(f"{sentence}.")
    return sentences


def _against(dense: Point, others: Sequence[Point]) -> str:
    values = [dev.value for point in others if (dev := point.on_dev)]
    if dense.on_dev is None or len(values) < len(others):
        return "and not with"
    better = dense.on_dev.value > max(values)
    return f"which is {'better' if better else 'no worse'} on dev than"


def _names(points: Sequence[Point]) -> str:
    return enumerated([point.name for point in points])


def several_machines(records: Sequence[Record]) -> list[str]:
    """Which runs were timed on which machine, for the tasks whose runs were on several."""
    tasks: dict[str, list[str]] = {}
    for task, of_task in by_task(records).items():
        ran: dict[str, dict[str, None]] = {}
        for point in of_task:
            for run in point.runs:
                if run.provenance.get("hardware"):
                    ran.setdefault(machine_of(run.provenance), {})[point.title] = None
        if len(ran) > 1:
            where = "; ".join(f"{enumerated(list(names))} on {name}" for name, names in ran.items())
            tasks.setdefault(where, []).append(task)
    return [
        f"On {enumerated(names)} the clock ran on several machines ({where}): hold its figures "
        "against each other only where the machine is the same."
        for where, names in tasks.items()
    ]
