"""``tokendrop search``: length configurations of a trained Length-Adaptive Transformer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tokendrop.commands.lightning_cli import parse_trained
from tokendrop.commands.training_settings import TRAINING_CONFIG
from tokendrop.errors import UserError
from tokendrop.search import load_search
from tokendrop.search.front import check_budget
from tokendrop.search.settings import Settings
from tokendrop.sharing import SIDE_CAR


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and search."""
    parser = argparse.ArgumentParser(
        prog="tokendrop search",
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Search a trained Length-Adaptive Transformer for the best length "
        "configuration of every budget, by the paper's evolutionary algorithm, on the dev split. "
        "Run again, it goes on where it stopped. Other options (--data.*) are those of 'tokendrop "
        "fit'; the settings of the model's training are their defaults.",
    )
    parser.add_argument("--checkpoint", required=True, help="model folder of 'tokendrop fit'")
    parser.add_argument(
        "--budget",
        type=float,
        nargs="+",
        default=[0.5],
        help="largest share of the full model's FLOPs on the same unpadded rows",
    )
    parser.add_argument("--generations", type=int, default=30, help="after the first population")
    parser.add_argument("--population", type=int, default=20, help="constant ratios to begin with")
    parser.add_argument("--mutations", type=int, default=30, help="in each generation")
    parser.add_argument("--crossovers", type=int, default=30, help="in each generation")
    parser.add_argument("--rows", type=int, default=1000, help="rows of the dev split")
    parser.add_argument("--seed", type=int, default=0, help="of mutations and crossovers")
    parser.add_argument("--out", type=Path, help="output folder (default: CHECKPOINT/search)")
    options, data_options = parser.parse_known_args(arguments)
    folder = Path(options.checkpoint)
    _check_data(folder, data_options)
    for budget in options.budget:
        check_budget(budget)
    settings = Settings(
        options.generations,
        options.population,
        options.mutations,
        options.crossovers,
        options.rows,
        options.seed,
    )
    search = load_search()
    cli, model = parse_trained("search", [*data_options, "--checkpoint", str(folder)])
    out = options.out or folder / "search"
    split, task = cli.datamodule.splits["dev"], cli.model.task
    front = search(model, split, task, settings, out, options.budget)
    table = Table("budget", "FLOPs", task.metric, "configuration", title=f"{front.rows} dev rows")
    for budget in sorted(options.budget, reverse=True):
        point = front.at(budget)
        shown = " ".join(map(str, point.configuration))
        table.add_row(f"{budget:.0%}", f"{point.share:.1%}", f"{point.score:.4f}", shown)
    Console().print(table)
    print(f"{len(front.points)} configurations on the front: {out / 'front.json'}")
    print(f"picture: {out / 'front.png'}")


def _check_data(folder: Path, options: Sequence[str]) -> None:
    saved = folder / SIDE_CAR / TRAINING_CONFIG
    known = saved.is_file() or any(option.startswith(("--data", "--config")) for option in options)
    # a folder that holds no model is complained about when it is loaded
    if (folder / "config.json").is_file() and not known:
        raise UserError(
            f"{folder} does not say which data it was trained on (no {SIDE_CAR}/{TRAINING_CONFIG}):"
            " name them, e.g. --data.dataset rotten_tomatoes"
        )
