"""``tokendrop search``: length configurations of a trained Length-Adaptive Transformer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from tokendrop.cli.evaluation import parse_trained
from tokendrop.cli.options import Parser, add_model_options
from tokendrop.files import check_untaken
from tokendrop.progress import table_console
from tokendrop.reducers.length_adaptive.search import load_search
from tokendrop.reducers.length_adaptive.search.front import check_budget
from tokendrop.reducers.length_adaptive.search.settings import SearchSettings


def parser() -> Parser:
    """The options that are not those of ``fit``."""
    parser = Parser(
        "search",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        description="Search a trained Length-Adaptive Transformer for the best length "
        "configuration of every budget, by the paper's evolutionary algorithm, on the dev split. "
        "Run again, it goes on where it stopped. Other options (--data.*) are those of 'tokendrop "
        "fit'; the settings of the model's training are their defaults.",
    )
    add_model_options(parser)
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
    parser.add_argument(
        "--out",
        type=Path,
        help="output folder (default: FOLDER/search, for a model of the Hub runs/search/NAME)",
    )
    return parser


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and search."""
    options, words = parser().parse_known_args(arguments)
    for budget in options.budget:
        check_budget(budget)
    settings = SearchSettings(
        options.generations,
        options.population,
        options.mutations,
        options.crossovers,
        options.rows,
        options.seed,
    )
    search = load_search()
    folder = Path(options.checkpoint)
    # a folder of that name here would be taken for the model itself the next time
    beside = folder / "search" if folder.is_dir() else Path("runs", "search", folder.name)
    out = options.out or beside
    check_untaken(out, ("front.json", "front.png"), ("evaluated-*.jsonl",), "search")
    trained = parse_trained(options, words, None)
    split, task = trained.cli.datamodule.splits["dev"], trained.cli.model.task
    front = search(trained.model, split, task, settings, out, options.budget)
    table = Table("budget", "FLOPs", task.metric, "configuration", title=f"{front.rows} dev rows")
    for budget in sorted(options.budget, reverse=True):
        point = front.at(budget)
        shown = " ".join(map(str, point.configuration))
        table.add_row(f"{budget:.0%}", f"{point.share:.1%}", f"{point.score:.4f}", shown)
    table_console().print(table)
    print(f"{len(front.points)} configurations on the front: {out / 'front.json'}")
    print(f"picture: {out / 'front.png'}")
    smallest = list(front.at(min(options.budget)).configuration)
    print(f"to use one: tokendrop.load({options.checkpoint!r}, configuration={smallest})")
