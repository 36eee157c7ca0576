"""``tokendrop validate``: evaluate a trained model on the dev split."""

from __future__ import annotations

from collections.abc import Sequence

from tokendrop.commands.lightning_cli import parse_trained


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and evaluate."""
    cli, _ = parse_trained("validate", arguments)
    cli.trainer.validate(cli.model, cli.datamodule)
