"""Every command that README, docs and configurations show is one that the program takes."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokendrop.cli import COMMANDS
from tokendrop.cli.lightning_cli import parse
from tokendrop.compare.grid.settings import Comparison, grid

ROOT = Path(__file__).parents[1]
SHOWN = re.compile(r"^(?:#? +)?(?:[A-Z]+=\S+ )*tokendrop (?=[a-z])(.+)$", re.MULTILINE)


# where a comparison would begin
RUNS = {"compare": "compare", "rationale": "compare_rationales"}
# commands that take the options of fit beside their own
OF_FIT = ("test", "validate", "search")


class Taken(Exception):
    """A comparison was about to begin."""


def take(comparison: Comparison, *_: object) -> None:
    list(grid(comparison))
    raise Taken


def shown() -> Iterator[tuple[str, list[str]]]:
    """Where a command is shown, and its words."""
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/**/*.yaml")]
    for file in sorted(files):
        # a command goes on behind a backslash
        text = re.sub(r" *\\\n(?:#| )*", " ", file.read_text(encoding="utf-8"))
        for command in SHOWN.findall(text):
            words = shlex.split(command.replace("`", ""), comments=True)
            if words[0] in COMMANDS:
                yield f"{file.relative_to(ROOT)}: {' '.join(words)[:60]}", words


def is_whole(words: list[str]) -> bool:
    """Whether nothing of it is the reader's own: settings, or what a shell puts in."""
    here = [(ROOT / word).is_file() for word in words if word.endswith(".yaml")]
    return all(here) and not any(word == "..." or "$" in word for word in words)


@pytest.mark.parametrize(
    "words", [pytest.param(words, id=where) for where, words in shown() if is_whole(words)]
)
def test_a_command_that_is_shown(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, *options = words
    command = importlib.import_module(f"tokendrop.cli.{name}")
    if name in RUNS:
        monkeypatch.setattr(command, RUNS[name], take)
        with pytest.raises(Taken):
            command.run(options)
    elif name == "fit":
        parse(options)
    else:
        _, others = command.parser().parse_known_args(options)
        if others:
            assert name in OF_FIT
            parse(["--data.train", "rows.csv", *others])


def test_commands_are_found() -> None:
    commands = [words[0] for _, words in shown()]
    assert set(COMMANDS) - set(commands) == {"validate"}  # takes the options of test
    assert len(commands) > 50
