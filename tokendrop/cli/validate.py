"""``tokendrop validate``: evaluate a trained model on the dev split."""

from __future__ import annotations

from collections.abc import Sequence

from tokendrop.cli.evaluation import (
    evaluation_parser,
    is_other_data,
    is_partial,
    parse_trained,
)
from tokendrop.cli.options import Parser
from tokendrop.training.trainer_options import in_one_line


def parser() -> Parser:
    """The options that are not those of ``fit``."""
    return evaluation_parser("validate", "Evaluate a trained model on the dev split.")


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and evaluate."""
    options, words = parser().parse_known_args(arguments)
    trained = parse_trained(options, words, "dev")
    cli = trained.cli
    is_partial(cli.trainer, "dev")
    with in_one_line():
        cli.trainer.validate(cli.model, cli.datamodule)
    is_other_data(trained, "dev")
