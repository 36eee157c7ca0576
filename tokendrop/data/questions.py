"""Questions about a context that holds the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokendrop.data.cells import loose
from tokendrop.data.encoding import read_text
from tokendrop.data.lazy import Made
from tokendrop.data.rows import Rows, read_texts
from tokendrop.data.sources import Table, existing, read_file
from tokendrop.data.split import Question
from tokendrop.errors import UserError, one_line


def read_squad(path: str, text: Sequence[str], label: str, folder: Path | None = None) -> Table:
    """Questions of a file of SQuAD 1.1 or 2, or of any other file with a row per question.

    Args:
        path: .json of SQuAD, or a file that :func:`read_file` takes.
        text: the columns of the table that get question and context.
        label: the column that gets the answers.
        folder: for the file that holds the rows, see :func:`tokendrop.data.cells.mapped`.

    Raises:
        UserError: the file is missing, cannot be parsed, or lacks a part.
    """
    file = existing(path)
    if file.suffix.lower() != ".json":
        return read_file(path, folder=folder)
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError):
        return read_file(path, folder=folder)  # lines, or an error that names the place
    # as people write it who split a file
    articles = content if isinstance(content, list) else []
    if articles and all(isinstance(one, dict) and "paragraphs" in one for one in articles):
        content = {"data": articles}
    # of one object, only SQuAD's has articles
    if not isinstance(content, dict) or not (set(content) & {"data", "version"}):
        return read_file(path, folder=folder)
    rows = []
    at = "the file"
    try:
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    at = f"question {asked['id']}"
                    impossible = asked.get("is_impossible", False)
                    found = [] if impossible else asked["answers"]
                    if not found and asked.get("is_impossible") is False:
                        raise UserError(
                            f"{path}, {at}: no answers, though is_impossible is false; correct one"
                        )
                    answers = {
                        "text": [answer["text"] for answer in found],
                        "answer_start": [answer["answer_start"] for answer in found],
                    }
                    rows.append((asked["id"], asked["question"], paragraph["context"], answers))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path}, at or after {at}: not in the form of SQuAD ({one_line(error)}); it has "
            "data, paragraphs with a context, and qas with id, question and answers"
        ) from error
    return Table(loose(["id", *text, label], rows, folder), path, folder=folder)


def read_questions(table: Table, text: Sequence[str], label: str) -> Rows:
    """Questions, contexts and answers; without any answer a question has none in its context.

    Answers are given as in SQuAD's rows on the Hub: lists ``text`` and ``answer_start``.

    Raises:
        UserError: a column is missing, the table is empty, a question or context has no text, or
            an answer is not where its offset says. The error names the question's id.
    """
    pairs = read_texts(table, text, label)
    numbers = range(1, len(pairs) + 1)
    ids: Sequence[Any] = table["id"] if "id" in table.called else numbers
    for id_, pair, cell in zip(ids, pairs, table[label], strict=True):
        at = f"{table.place}, question {id_}"
        for name, part in zip(text, pair, strict=True):
            if not part.strip():
                raise UserError(f"{at}: empty text in column {name!r}; remove the question")
        _answers(cell, pair[1], at)
    return Rows(
        pairs,
        Made(_question, ids, pairs, table[label]),
        numbers,
        table.place,
        shared=1,
        relation="questions are about paragraphs that",
    )


def _question(id_: Any, pair: tuple[str, str], cell: Any) -> Question:
    return Question(str(id_), *pair, *_answers(cell, pair[1], f"question {id_}"))


def _answers(cell: Any, context: str, at: str) -> tuple[list[str], list[int]]:
    try:
        if isinstance(cell["text"], str):
            raise TypeError("a text instead of a list")
        given = list(zip(list(cell["text"]), list(cell["answer_start"]), strict=True))
    # an array of answers, as Parquet has lists, raises an IndexError
    except (LookupError, TypeError, ValueError) as error:
        shown = " ".join(str(cell).split())[:60]
        raise UserError(
            f"{at}: the answers {shown!r} are not an object with two lists of the same length, "
            "'text' and 'answer_start'; choose the column with --data.label, or write such objects "
            "in JSON or Parquet, since a CSV has no lists"
        ) from error
    texts, starts = [], []
    for text, start in given:
        whole = isinstance(start, int | np.integer) and not isinstance(start, bool)
        if not whole or start < 0:
            raise UserError(
                f"{at}: answer_start {start!r:.60} is no whole number, 0 or more, that counts the "
                "characters of the context before the answer; correct it"
            )
        if not isinstance(text, str) or context[start : start + len(text)] != text:
            found = context[start : start + len(str(text))][:60]
            raise UserError(
                f"{at}: the answer {text!r:.60} is not at character {start} of the context, where "
                f"{found!r} stands; correct answer_start"
            )
        if not text.strip():
            raise UserError(f"{at}: an answer without text; remove it")
        texts.append(text.strip())
        starts.append(int(start) + len(text) - len(text.lstrip()))
    return texts, starts
