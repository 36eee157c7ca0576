"""``tokendrop test``: evaluate a trained model on the test split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tokendrop.cli.evaluation import (
    evaluation_parser,
    figures_of,
    is_other_data,
    is_partial,
    parse_trained,
)
from tokendrop.cli.options import Parser
from tokendrop.errors import UserError
from tokendrop.models.cards import SIDE_CAR, write_figures
from tokendrop.sums import LIST
from tokendrop.training.trainer_options import in_one_line

log = logging.getLogger(__name__)


def parser() -> Parser:
    """The options that are not those of ``fit``."""
    return evaluation_parser(
        "test",
        "Evaluate a trained model on the test split; a local folder's model card then tells the "
        "figures.",
    )


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and evaluate; a local model's card then tells the figures."""
    options, words = parser().parse_known_args(arguments)
    folder = Path(options.checkpoint)
    weights = _sums(folder)
    trained = parse_trained(options, words, "test")
    cli, model = trained.cli, trained.model
    partial = is_partial(cli.trainer, "test")
    with in_one_line():
        (metrics,) = cli.trainer.test(cli.model, cli.datamodule)
    if partial or not (folder / SIDE_CAR).is_dir():
        return  # the local copy of a model on the Hub, and what we did not write, stay as they are
    if is_other_data(trained, "test"):
        return
    backbone = model.figures.backbone if model.figures else ""
    model.figures = figures_of(cli, "test", metrics, backbone)
    try:
        if _sums(folder) != weights:
            raise UserError(f"another model was written to {folder} meanwhile: test that")
        write_figures(folder, model.summary)
    except (OSError, UserError) as error:
        log.warning("the model's card does not tell these figures: %s", error)


def _sums(folder: Path) -> str:
    """Those of a model's weights, by which it is known; empty where there are none."""
    file = folder / LIST
    return file.read_text(errors="replace") if file.is_file() else ""
