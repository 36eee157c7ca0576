"""The lines of a file that may be larger than memory, with what is left of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tokendrop.errors import UserError

DRAWN = 100  # lines between two looks of the bar


@contextmanager
def lines_of(name: str | None, *, printing: bool = True) -> Iterator[Iterator[str]]:
    """Lines of UTF-8; a bar says what is left where a terminal shows nothing else.

    A line ends at a line feed, with or without a carriage return before it, and nowhere else: other
    ends of lines that Unicode knows stand inside of texts.

    Args:
        name: of a file, "-" for standard input, None for no lines.
        printing: whether answers go to standard output, where a bar would be in their way.

    Raises:
        UserError: it cannot be read, or a line is not UTF-8.
    """
    if name is None:
        yield iter(())
        return
    shown = "standard input" if name == "-" else name
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[lines]:,} lines, left:"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty() or (printing and sys.stdout.isatty()),
        transient=True,
    )
    with _opened(name, shown) as file, bar:
        yield _decoded(file, shown, bar)


def _opened(name: str, shown: str) -> BinaryIO:
    standard = name == "-"
    try:
        return open(0 if standard else name, "rb", closefd=not standard)
    except OSError as error:
        raise UserError(f"cannot read the texts in {shown} ({error.strerror})") from error


def _decoded(file: BinaryIO, shown: str, bar: Progress) -> Iterator[str]:
    task = bar.add_task(shown, total=os.fstat(file.fileno()).st_size or None, lines=0)
    read = 0
    for number, raw in enumerate(file, start=1):
        read += len(raw)
        if number % DRAWN == 0:
            bar.update(task, completed=read, lines=number)
        try:
            text = raw.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"line {number} of {shown} is not UTF-8 ({error.reason}): save the file as UTF-8, "
                "e.g. with iconv -f latin1 -t utf-8"
            ) from error
        yield text.removeprefix("\ufeff") if number == 1 else text
