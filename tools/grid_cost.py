"""What a comparison would cost on other devices, from the records of one that was run.

    python tools/grid_cost.py runs/fair --to 12x768 --tflops 15 --devices 8 256

Measured are the training FLOPs of each method; computed is everything else: larger models cost them
in the ratio of a dense pass, tuned methods spend their whole budget, and devices keep the rate that
is named. What is measured afterwards (test split, clock) is not in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokendrop.compare.results.records import Record, read_records
from tokendrop.measure.flops import layer_flops
from tokendrop.reducers.base import Shape


@dataclass(frozen=True)
class Cost:
    """A grid as jobs that wait for each other.

    Attributes:
        fine_tuning: FLOPs of the shared start of one task and seed, the mean over tasks.
        total: FLOPs of all jobs, in multiples of it.
        chain: of the longest sequence of jobs that wait for each other, in the same.
        jobs: how many there are.
        widest: how many of them wait for the same jobs at most, and can run at once.
        without_run: tuned methods that have no run, of which only the tuning counts.
    """

    fine_tuning: float
    total: float
    chain: float
    jobs: int
    widest: int
    without_run: list[str]


def cost_of(records: Sequence[Record], budget: float | None = None, batch: int = 1) -> Cost:
    """The cost of a grid.

    Args:
        records: of all its runs.
        budget: of tuning a method, in multiples of the fine-tuning; as it was run, if not given.
        batch: trials of a method that are trained at once.
    """
    tasks = sorted({record.task for record in records})
    costs = [_of_task([r for r in records if r.task == task], budget, batch) for task in tasks]
    fine_tuning = sum(cost.fine_tuning for cost in costs) / len(costs)
    return Cost(
        fine_tuning,
        sum(cost.total * cost.fine_tuning for cost in costs) / fine_tuning,
        max(cost.chain * cost.fine_tuning for cost in costs) / fine_tuning,
        sum(cost.jobs for cost in costs),
        sum(cost.widest for cost in costs),
        sorted({name for cost in costs for name in cost.without_run}),
    )


def _of_task(records: Sequence[Record], budget: float | None, batch: int) -> Cost:
    starts = {record.seed: float(record.stages[0]["flops"]) for record in records}
    start = sum(starts.values()) / len(starts)
    tuned, without = _budgets(records, budget)
    # points of one trial share its training
    trainings = {(r.method, r.seed, _own(r)) for r in records if _own(r)}
    longest = {name: 0.0 for name in tuned}
    for method, _, own in trainings:
        longest[method] = max(longest.get(method, 0.0), own / start)
    return Cost(
        start,
        len(starts) + sum(tuned.values()) + sum(own for *_, own in trainings) / start,
        1 + max((tuned.get(m, 0.0) / batch + own for m, own in longest.items()), default=0.0),
        len(starts) + len(tuned) + len(trainings),
        max(len(tuned) * batch, len(trainings)),
        without,
    )


def _own(record: Record) -> float:
    """FLOPs of what a method trains itself, and of its search."""
    return float(sum(stage["flops"] for stage in record.stages[1:]))


def _budgets(records: Iterable[Record], budget: float | None) -> tuple[dict[str, float], list[str]]:
    """What each tuned method spends, and which of them have no run."""
    spent: dict[str, float] = {}
    given: dict[str, float] = {}
    for record in records:
        config = record.provenance.get("config") or {}
        if "tuning" in record.details:
            spent[record.method] = record.details["tuning"]["cost"]
        for name, method in (config.get("methods") or {}).items():
            if isinstance(method, dict) and method.get("space"):
                given[name] = (config.get("tune") or {}).get("cost") or 0.0
    without = sorted(given.keys() - spent.keys())
    names = given.keys() | spent.keys()
    if budget is not None:
        return dict.fromkeys(names, budget), without
    return {name: spent.get(name, given.get(name, 0.0)) for name in names}, without


def larger(old: str, new: str, tokens: int) -> float:
    """How many times the FLOPs of a dense pass another model has.

    Args:
        old: layers and width, "6x384".
        new: likewise.
        tokens: of a row.
    """

    def dense(named: str) -> float:
        layers, width = map(int, named.split("x"))
        shape = Shape(layers, width, width // 64, 4 * width, 2, tokens)
        return layers * layer_flops([tokens], tokens, shape)

    return dense(new) / dense(old)


def _above_0(text: str) -> float:
    if not 0 < (number := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def _size(text: str) -> str:
    layers, _, width = text.partition("x")
    # 64 is the width of a head
    if not (layers.isdecimal() and width.isdecimal() and int(layers) and int(width) >= 64):
        raise argparse.ArgumentTypeError(f"{text} is no LAYERSxWIDTH, as 12x768 is")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of a comparison")
    parser.add_argument(
        "--from", dest="old", type=_size, default="6x384", help="its model, LAYERSxWIDTH"
    )
    parser.add_argument(
        "--to", dest="new", type=_size, nargs="+", default=["6x384"], help="models to work out"
    )
    parser.add_argument("--tokens", type=_count, default=32, help="of a row")
    parser.add_argument("--tflops", type=_above_0, nargs="+", required=True, help="of a device")
    parser.add_argument("--devices", type=_count, nargs="+", default=[1], help="how many there are")
    parser.add_argument("--cost", type=float, help="tune.cost instead of what was spent")
    parser.add_argument("--batch", type=_count, default=1, help="tune.batch")
    parser.add_argument("--times", type=_above_0, default=1, help="times the training rows")
    options = parser.parse_args()
    if not (records := read_records(options.folder)):
        parser.error(f"{options.folder} holds no runs: name the folder of a comparison")
    if not all(record.stages and record.stages[0]["flops"] for record in records):
        parser.error(
            f"{options.folder} has no fine-tuning to count in: its methods begin with a model that "
            "was fine-tuned before (fine_tune: null)"
        )
    cost = cost_of(records, options.cost, options.batch)
    print(
        f"{cost.jobs} jobs, {cost.widest} at once, {cost.total:.1f} fine-tunings of "
        f"{cost.fine_tuning / 1e12:.2f} TFLOP in all, {cost.chain:.1f} in the longest chain: "
        f"more than {cost.total / cost.chain:.0f} devices bring nothing"
    )
    if cost.without_run:
        print(f"without a run, tuning alone: {', '.join(cost.without_run)}")
    for new in options.new:
        one = cost.fine_tuning * options.times * larger(options.old, new, options.tokens)
        for rate in options.tflops:
            hours = one / (rate * 1e12 * 3600)
            walls = [max(cost.total / devices, cost.chain) * hours for devices in options.devices]
            print(
                f"{new} at {rate:g} TFLOP/s: {cost.total * hours:.2f} device hours; at least "
                + ", ".join(
                    f"{wall:.2f} h on {devices}"
                    for wall, devices in zip(walls, options.devices, strict=True)
                )
            )


if __name__ == "__main__":
    main()
