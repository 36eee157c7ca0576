"""``tokendrop test``: evaluate a trained model on the test split."""

from __future__ import annotations

from collections.abc import Sequence

from tokendrop.commands.lightning_cli import parse_trained


def run(arguments: Sequence[str]) -> None:
    """Parse the command line and evaluate."""
    cli, _ = parse_trained("test", arguments)
    cli.trainer.test(cli.model, cli.datamodule)
