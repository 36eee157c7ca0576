"""Answers in a file, one JSON object per text, which an interrupted run goes on with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from itertools import islice
from math import isclose
from pathlib import Path
from typing import Any, NamedTuple

from tokendrop.errors import UserError, one_line
from tokendrop.models.placing import Dtype
from tokendrop.models.prediction import Prediction, Text

_NOTHING = {field.name: None for field in fields(Prediction)}
_OLDER = {"value": None}  # what answers of earlier versions lack, whose labels have three decimals


class Rounding(NamedTuple):
    """How far apart the answers of one model to one text may be, for batches round otherwise.

    Attributes:
        ratio: of two numbers, their difference to the larger one. Of probabilities it is that of
            the small ones which tells two models apart that are both sure.
        number: of two answers that are numbers, their difference where both are near 0.
        share: of the tokens, those dropped elsewhere; of the words, those tagged otherwise.
    """

    ratio: float
    number: float
    share: float


# of batches of 1 and of 32 were found: 2e-5 and no token in fp32, 0.14 and a tenth in bf16
ROUNDINGS: dict[Dtype, Rounding] = {
    "fp32": Rounding(1e-3, 1e-6, 0.0),
    "bf16": Rounding(0.25, 1e-2, 0.25),
}


def as_json(prediction: Prediction | None) -> str:
    """An answer in one line; that to a blank line has nothing but nulls."""
    return json.dumps(_NOTHING if prediction is None else asdict(prediction))


_BLANK = as_json(None).encode() + b"\n"
_START = _BLANK[: _BLANK.index(b"null")]


def check_place(file: Path, texts: str | None) -> None:
    """Raise for what answers would never end in, or would destroy.

    Args:
        file: where they are to go.
        texts: the file with the texts, "-" for standard input.

    Raises:
        UserError: it is there and not a regular file, or has the texts.
    """
    if not file.exists():
        return
    if not file.is_file():
        raise UserError(
            f"--out {file} is not a regular file: name one, or leave --out out and have the "
            "answers on standard output with --json"
        )
    if texts is not None and os.path.samefile(file, 0 if texts == "-" else texts):
        raise UserError(f"--out {file} is the file with the texts: name another for the answers")


def write_answers(
    file: Path,
    texts: Iterator[Text],
    answer: Callable[[Iterable[Text], int], Iterator[Prediction | None]],
    dtype: Dtype,
) -> tuple[int, int]:
    """Answer for texts into a file, after those that it has answers for already.

    Args:
        file: what to write, see :func:`check_place`; a line that was cut in the middle is written
            again.
        texts: all of them, from the first one on.
        answer: gives one answer for each text, of which the first has this number.
        dtype: of the weights of what answers.

    Returns:
        how many answers were there before, and how many are there now.

    Raises:
        UserError: the file cannot be written, its last answer is not what this model says to the
            text in that place, or what was cut in the middle is no answer.
    """
    try:
        there = _there(file)
        before = sum(1 for _ in islice(texts, max(0, there.told - 1)))
        if there.lines:
            # the texts behind it are blank
            again = list(answer(islice(texts, there.lines - before), there.told))
            as_told = len(again) == there.lines - before and not any(again[1:])
            if not as_told or not _alike(there.line, again[0], ROUNDINGS[dtype]):
                raise UserError(
                    f"{file} holds {there.lines} answers, and line {there.told} is not what this "
                    "model says to the text in that line: take the model, --dtype and --engine "
                    "that it is from, name another file, or remove it"
                )
        with file.open("r+b" if there.lines else "wb") as out:
            out.truncate(there.end)
            out.seek(there.end)
            lines = there.lines
            for found in answer(texts, there.lines + 1):
                out.write(as_json(found).encode() + b"\n")
                lines += 1
    except OSError as error:
        raise UserError(f"cannot write answers to {file}: {one_line(error)}") from error
    return there.lines, lines


class _There(NamedTuple):
    """What a file holds.

    Attributes:
        lines: how many whole ones.
        told: the number of the last one that is no answer to a blank text, if there is one, else
            of the first.
        line: that line.
        end: where the last whole line ends.
    """

    lines: int = 0
    told: int = 0
    line: bytes = b""
    end: int = 0


def _there(file: Path) -> _There:
    """
    Raises:
        UserError: behind the last whole line is what no answer begins with.
    """
    found = _There()
    if file.exists():
        with file.open("rb") as content:
            for line in content:
                if line.endswith(b"\n"):
                    count, end = found.lines + 1, found.end + len(line)
                    told = (found.told, found.line)
                    if line != _BLANK or not found.lines:
                        told = (count, line)
                    found = _There(count, *told, end)
                elif not _is_begun(line):
                    raise UserError(
                        f"{file} ends in a line that is none of our answers, and would be lost: "
                        "name another file, or remove it"
                    )
    return found


def _is_begun(line: bytes) -> bool:
    """Whether a line without its end is of an answer."""
    try:
        told = json.loads(line)
    except ValueError:
        return line[: len(_START)] == _START[: len(line)]
    return isinstance(told, dict) and (_OLDER | told).keys() == _NOTHING.keys()


def _alike(line: bytes, answer: Prediction | None, rounding: Rounding) -> bool:
    """Whether a line holds this answer but for rounding."""
    try:
        told = json.loads(line)
    except ValueError:
        return False
    wanted = json.loads(as_json(answer))
    if not isinstance(told, dict):
        return False
    told = _OLDER | told
    if answer is None:
        return bool(told == wanted)
    return (
        told.keys() == wanted.keys()
        and all(told[name] == wanted[name] for name in ("tokens", "row_depth", "layers"))
        and _mostly(told["token_depth"], wanted["token_depth"], rounding)
        and _near(told["probabilities"], wanted["probabilities"], rounding)
        and _same_answer(told, answer, rounding)
    )


def _near(told: Any, wanted: dict[str, float], rounding: Rounding) -> bool:
    return (
        isinstance(told, dict)
        and told.keys() == wanted.keys()
        and all(isinstance(value, float) for value in told.values())
        and all(isclose(told[name], wanted[name], rel_tol=rounding.ratio) for name in wanted)
    )


def _mostly(told: Any, wanted: list[Any], rounding: Rounding) -> bool:
    if not isinstance(told, list) or len(told) != len(wanted):
        return False
    others = sum(one != other for one, other in zip(told, wanted, strict=True))
    return others <= rounding.share * len(wanted)


def _same_answer(told: dict[str, Any], answer: Prediction, rounding: Rounding) -> bool:
    """The number, where it is one; else the label, of whose words some may be other tags."""
    if answer.value is None:
        label = told["label"]
        return isinstance(label, str) and _mostly(label.split(), answer.label.split(), rounding)
    number = told["value"]
    if number is None:
        return bool(told["label"] == f"{answer.value:.3f}")
    return isinstance(number, float) and isclose(
        number, answer.value, rel_tol=rounding.ratio, abs_tol=rounding.number
    )
