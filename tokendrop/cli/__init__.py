"""The command line: ``tokendrop COMMAND``. Each command imports what it needs, so help is quick."""

from __future__ import annotations

import errno
import importlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from tokendrop.cli.options import split_off
from tokendrop.cli.signals import ended_by_signals
from tokendrop.errors import UserError, unknown
from tokendrop.files import NO_ROOM

COMMANDS = {
    "fit": "train a method's whole recipe on a task",
    "validate": "evaluate a trained model on the dev split",
    "test": "evaluate a trained model on the test split",
    "predict": "classify texts and show which tokens were dropped where",
    "compare": "train, evaluate and time a grid of methods; write the tables and the report",
    "report": "put the folders of several comparisons into one report",
    "leaderboard": "check the runs of a comparison and write them as rows that others can add to",
    "export": "write a trained model as ONNX files that drop in other engines too",
    "choose": "take the fastest model of a comparison that loses at most so much",
    "speed": "time the methods at given kept shares, without training",
    "search": "find a Length-Adaptive model's best configuration for a budget",
    "rationale": "compare what methods keep with what people marked as the reason",
}

CONTINUES = ("fit", "compare", "search", "rationale")
"""Commands that find what they had done before."""

CANNOT_WRITE = (*NO_ROOM, errno.EACCES, errno.EROFS)

USAGE = f"""usage: tokendrop COMMAND [options]

Compare token-dropping and early-exit methods for BERT-like encoders.

commands:
{chr(10).join(f"  {name:<12}{what}" for name, what in COMMANDS.items())}

'tokendrop COMMAND --help' lists the options of a command, 'tokendrop --version' the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        the exit code: 0, 2 for a mistake in the input, 130 after Ctrl-C, 143 after SIGTERM, 129
        after SIGHUP.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _lose_no_output()
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if words[0] == "--version":
        print(f"tokendrop {version('tokendrop')}")
        return 0
    again = "continues from here" if _continues(*words) else "begins again"
    try:
        with ended_by_signals() as received:
            try:
                if words[0] not in COMMANDS:
                    raise unknown("command", words[0], COMMANDS)
                if split_off("--out", words)[0] == "":  # "$OUT", which nobody has set
                    raise UserError("--out names no place, which would be this folder: name one")
                command = importlib.import_module(f"tokendrop.cli.{words[0]}")
                _quiet()
                with _each_line_once():
                    command.run(words[1:])
            except SystemExit as error:
                # what Lightning makes of Ctrl-C; one with a cause is of a process that is silent
                if isinstance(error.__context__, KeyboardInterrupt) and not error.__cause__:
                    raise KeyboardInterrupt from error
                raise
    except UserError as error:
        print(f"tokendrop: error: {error}", file=sys.stderr)
        return 2
    except SyntaxError as error:  # of a class of the user's
        place = f"{error.filename}, line {error.lineno}"
        print(f"tokendrop: error: {place} cannot be read: {error.msg}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"tokendrop: interrupted; the same command {again}", file=sys.stderr)
        return received.exit_code
    except BrokenPipeError:
        return 0
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        what = f"{error.strerror} ({error.filename})" if error.filename else error.strerror
        cure = f"make room or name another folder; the same command {again}"
        print(f"tokendrop: error: {what}: {cure}", file=sys.stderr)
        return 2
    return 0


def _continues(command: str, *words: str) -> bool:
    """Whether a command finds what it had done before; answers are found in their file."""
    in_file = command == "predict" and split_off("--out", words)[0] is not None
    return in_file or command in CONTINUES


def _lose_no_output() -> None:
    """Print a question mark for a character that a terminal or a pipe cannot show."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


def _quiet() -> None:
    """Show our own messages, and of other libraries only what a user can act on."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("tokendrop").setLevel(logging.INFO)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # why it kills a process that waits for one which has ended
    launcher = "lightning.fabric.strategies.launchers.subprocess_script"
    logging.getLogger(launcher).setLevel(logging.INFO)
    # the hub's client reports each of its retries; our error at the end says it once
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    logging.getLogger("wandb").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.* is deprecated")
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
    # they are equal in all processes
    warnings.filterwarnings("ignore", message="It is recommended to use `self.log")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")


@contextmanager
def _each_line_once() -> Iterator[None]:
    """Say once what is equal for all runs of a command, e.g. that some of its texts were cut."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        line = record.getMessage()
        known = line in said
        said.add(line)
        return not known

    models = ("models.backbones", "models.model", "models.answering")
    again = ("compare.grid.continuing", "training.finished")
    names = ("data.prepared", *models, *again, "compare.report.canvas")
    loggers = [logging.getLogger(f"tokendrop.{name}") for name in names]
    for logger in loggers:
        logger.addFilter(is_new)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_new)
