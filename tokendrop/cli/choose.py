"""``tokendrop choose``: the fastest model of a comparison that loses little."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tokendrop.cli.options import Parser, add_trust_option, told_next
from tokendrop.cli.training_settings import TRAINING_CONFIG
from tokendrop.compare.report.tables import show_measure
from tokendrop.compare.results.baseline import baselines
from tokendrop.compare.results.choosing import Choice, choose
from tokendrop.compare.results.floor import read_floors
from tokendrop.compare.results.records import MARK, Record, records_of
from tokendrop.compare.results.resampled import Difference
from tokendrop.errors import UserError
from tokendrop.files import whole_folder
from tokendrop.holding import one_writer
from tokendrop.measure.measures import (
    FLOPS_UNPADDED,
    KEPT_TOKENS,
    LATENCY,
    THROUGHPUT_UNPADDED,
    VALUE,
)
from tokendrop.models.cards import SIDE_CAR
from tokendrop.models.model import load_with
from tokendrop.reducers.stored import stored_reducer, to_be_trusted


def parser() -> Parser:
    """The options."""
    parser = Parser(
        "choose",
        description="Take the fastest model of a comparison that loses little: the loss is that "
        "on the dev split against the better model that drops nothing, the speed is rows per "
        "second at 32 rows against the same encoder with nothing dropped, timed on texts of the "
        "test split. The answers to that split only confirm the choice. Where nothing qualifies, "
        "nothing is written and the exit code is 2.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="output folder of a comparison")
    parser.add_argument(
        "--max-loss",
        type=float,
        required=True,
        metavar="POINTS",
        help="largest loss on the dev split, in points of the task's metric (1.0 is 1 %%)",
    )
    parser.add_argument(
        "--min-speedup", type=float, default=1.0, metavar="TIMES", help="smallest speed-up"
    )
    parser.add_argument("--task", help="which task, where the comparison has several")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="for the model; must be new"
    )
    add_trust_option(parser)
    return parser


def run(arguments: Sequence[str]) -> None:
    """Parse the command line, choose, and write the model."""
    options = parser().parse_args(arguments)
    _check(options)
    records = records_of(options.folder)
    with one_writer(options.out):
        _check_new(options.out)
        _choose(options, records)


def _choose(options: argparse.Namespace, records: list[Record]) -> None:
    limits = options.max_loss / 100, options.min_speedup
    levels = baselines(records, read_floors(options.folder), options.folder)
    choice = choose(records, options.folder, *limits, options.task, levels)
    _write(choice.run, options.folder, options.out, options.trust_reducer)
    print("\n".join(_told(choice, options.max_loss)))
    print(told_next(options.out, to_be_trusted(choice.run.details["reducer"])))


def _check(options: argparse.Namespace) -> None:
    # not (a >= b) is true of a number that is none, too
    if not options.max_loss >= 0:
        raise UserError(f"--max-loss {options.max_loss:g} is no loss: use 0 or more points, e.g. 1")
    if not options.min_speedup >= 1:
        raise UserError(
            f"--min-speedup {options.min_speedup:g} is no speed-up: use 1 or more, e.g. 1.5"
        )
    _check_new(options.out)


def _check_new(out: Path) -> None:
    if out.exists():
        raise UserError(f"{out} is there already: name a new folder with --out")


def _write(run: Record, folder: Path, out: Path, trusted: bool) -> None:
    """The run's model at its operating point, with the settings that pose its task."""
    place = folder / str(run.details.get("model", ""))
    if not (place / SIDE_CAR).is_dir() or "reducer" not in run.details:
        raise UserError(
            f"the model of {run.method} ({run.operating_point}), seed {run.seed}, does not lie in "
            f"{folder} any more: delete its record under runs/ and run the comparison again"
        )
    model = load_with(place, stored_reducer(run.details["reducer"], trusted))
    settings = run.provenance.get("config", {})
    posed: dict[str, Any] = {
        "seed_everything": run.seed,
        "model": {"metric": run.metric},
        "data": settings.get("data", {}),
    }
    with whole_folder(out) as draft:
        model.save_pretrained(draft)
        text = yaml.safe_dump(posed, sort_keys=False)
        (draft / SIDE_CAR / TRAINING_CONFIG).write_text(text, encoding="utf-8")


def _told(choice: Choice, max_loss: float) -> list[str]:
    """What was chosen and what was given up, line by line."""
    point, run, dev = choice.point, choice.run, choice.run.dev
    assert dev is not None
    seeds = f"mean of {len(point.runs)} seeds" if len(point.runs) > 1 else "one seed"
    lines = [
        f"{point.name} on {point.task}, the model of seed {run.seed}",
        f"  dev:   {VALUE.show(dev.value)} {run.metric}; {_lost(choice.loss, choice.on_dev)} "
        f"{choice.reference.name} ({seeds}, {dev.examples:,} rows)",
    ]
    lost = choice.reference.mean(VALUE) - point.mean(VALUE)
    lines.append(
        f"  test:  {VALUE.show(run.value)} {run.metric}; {_lost(lost, choice.on_test)} "
        f"{choice.reference.name} ({seeds}, {run.examples_eval:,} rows)"
    )
    shown = (
        (THROUGHPUT_UNPADDED, "the rows per second at 32 rows"),
        (LATENCY, "as fast on one row"),
        (FLOPS_UNPADDED, "fewer FLOPs"),
        (KEPT_TOKENS, "of tokens x layers kept"),
    )
    gained = ", ".join(f"{show_measure(point, measure)} {what}" for measure, what in shown)
    lines.append(f"  speed: {gained}")
    if run.has_caveat:
        lines.append(f"  {MARK} {run.details['caveat']}")
    if 100 * lost > max_loss + 1e-9:
        lines.append(
            f"  not confirmed: on the test split it loses {100 * lost:.2f} points, more than the "
            f"{max_loss:g} that were allowed on dev"
        )
    elif choice.on_dev is not None and -100 * choice.on_dev.low > max_loss:
        lines.append(
            f"  dev has {dev.examples:,} rows, by which a loss of up to "
            f"{-100 * choice.on_dev.low:.2f} points cannot be ruled out"
        )
    return lines


def _lost(loss: float, difference: Difference | None) -> str:
    """How far below the model that drops nothing, with the interval of what is lost."""
    size = f"{100 * abs(loss):.2f}"
    side = "below" if loss > 0 else "above"
    text = "level with" if float(size) == 0 else f"{size} points {side}"
    if difference is None:
        return text
    return f"{text} (95 % interval {100 * difference.low:+.2f} to {100 * difference.high:+.2f})"
