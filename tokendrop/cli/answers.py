"""Answers in a file, one JSON object per text, which an interrupted run goes on with."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path

from tokendrop.errors import UserError, one_line
from tokendrop.models.prediction import Prediction, Text

_NOTHING = {field.name: None for field in fields(Prediction)}


def as_json(prediction: Prediction | None) -> str:
    """An answer in one line; that to a blank line has nothing but nulls."""
    return json.dumps(_NOTHING if prediction is None else asdict(prediction))


def write_answers(
    file: Path,
    texts: Iterator[Text],
    answer: Callable[[Iterable[Text], int], Iterator[Prediction | None]],
) -> int:
    """Answer for texts into a file, after those that it has answers for already.

    Args:
        file: what to write; a line that was cut in the middle is written again.
        texts: all of them, from the first one on.
        answer: gives one answer for each text, of which the first has this number.

    Returns:
        how many answers were there before.

    Raises:
        UserError: the file cannot be written, or its last answer is not what this model says to
            the text in that place.
    """
    try:
        there, last, end = _whole_lines(file)
        before = sum(1 for _ in islice(texts, max(0, there - 1)))
        if there:
            again = list(answer(islice(texts, 1), there)) if before == there - 1 else []
            if not again or not _alike(last, again[0]):
                raise UserError(
                    f"{file} holds {there} answers, and line {there} is not what this model says "
                    "to the text in that line: name another file, or remove it"
                )
        with file.open("r+b" if there else "wb") as out:
            out.truncate(end)
            out.seek(end)
            for found in answer(texts, there + 1):
                out.write(as_json(found).encode() + b"\n")
    except OSError as error:
        raise UserError(f"cannot write answers to {file}: {one_line(error)}") from error
    return there


def _whole_lines(file: Path) -> tuple[int, bytes, int]:
    """How many there are, the last one, and where it ends."""
    count, last, end = 0, b"", 0
    if file.exists():
        with file.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    count, last, end = count + 1, line, end + len(line)
    return count, last, end


def _alike(line: bytes, answer: Prediction | None) -> bool:
    """Whether a line holds this answer but for rounding, which batches do otherwise."""
    try:
        told = json.loads(line)
    except ValueError:
        return False
    expected = json.loads(as_json(answer))
    if not isinstance(told, dict) or told.get("tokens") != expected["tokens"]:
        return False
    if answer is None or answer.value is None:
        return bool(told.get("label") == expected["label"])
    if not isinstance(told.get("value"), float):  # by a version that told three decimals only
        return bool(told.get("label") == f"{answer.value:.3f}")
    return math.isclose(told["value"], answer.value, rel_tol=1e-3, abs_tol=1e-6)
