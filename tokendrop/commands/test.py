"""``tokendrop test``: evaluate a trained model on the test split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tokendrop.commands.lightning_cli import figures_of, parse_trained
from tokendrop.sharing import SIDE_CAR, write_figures

log = logging.getLogger(__name__)


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and evaluate; a local model's card then tells the figures."""
    cli, model = parse_trained("test", arguments)
    (metrics,) = cli.trainer.test(cli.model, cli.datamodule)
    folder = Path(cli.model.backbone)
    if str(folder) not in arguments or not (folder / SIDE_CAR).is_dir():
        return  # the local copy of a model on the Hub, and what we did not write, stay as they are
    backbone = model.figures.backbone if model.figures else ""
    model.figures = figures_of(cli, "test", metrics, backbone)
    try:
        write_figures(folder, model)
    except OSError as error:
        log.warning("the model's card does not tell these figures: %s", error)
