"""Questions about a context that holds the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokendrop.data.batching import Split
from tokendrop.data.rows import Rows, read_texts
from tokendrop.data.sources import Table, existing, read_file
from tokendrop.data.tokens import Tokeniser
from tokendrop.errors import UserError, one_line


@dataclass(frozen=True)
class Question:
    """A question with its right answers.

    Attributes:
        id: its name in the file.
        text: the question.
        context: the paragraph that is asked about.
        answers: the right answers; none if the context does not hold one.
        starts: the first character of each in the context.
    """

    id: str
    text: str
    context: str
    answers: list[str]
    starts: list[int]


@dataclass(frozen=True, eq=False)
class Window:
    """A row of question answering: a question and a stretch of its context.

    Attributes:
        number: of the question in its split.
        question: what is asked.
        offsets: (tokens, 2) first character of each token in the context, and the one behind its
            last; 0, 0 at tokens that are no context.
    """

    number: int
    question: Question
    offsets: NDArray[np.int32]


def read_squad(path: str, text: Sequence[str], label: str) -> Table:
    """Questions of a file of SQuAD 1.1 or 2, or of any other file with a row per question.

    Args:
        path: .json of SQuAD, or a file that :func:`read_file` takes.
        text: the columns of the table that get question and context.
        label: the column that gets the answers.

    Raises:
        UserError: the file is missing, cannot be parsed, or lacks a part.
    """
    file = existing(path)
    if file.suffix.lower() != ".json":
        return read_file(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError:
        return read_file(path)  # lines, or an error that names the place
    if not isinstance(content, dict):
        return read_file(path)
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
            f"{path}, after {at}: not in the form of SQuAD ({one_line(error)} is missing); it has "
            "data, paragraphs with a context, and qas with id, question and answers"
        ) from error
    return Table(pd.DataFrame(rows, columns=["id", *text, label]), path)


def read_questions(table: Table, text: Sequence[str], label: str) -> Rows:
    """Questions, contexts and answers; without any answer a question has none in its context.

    Answers are given as in SQuAD's rows on the Hub: lists ``text`` and ``answer_start``.

    Raises:
        UserError: a column is missing, the table is empty, a question or context has no text, or
            an answer is not where its offset says. The error names the question's id.
    """
    pairs = read_texts(table, text, label)
    numbers = range(1, len(pairs) + 1)
    ids = table.frame["id"].tolist() if "id" in table.frame else list(numbers)
    questions = []
    for id_, pair, cell in zip(ids, pairs, table.frame[label].tolist(), strict=True):
        at = f"{table.place}, question {id_}"
        for name, part in zip(text, pair, strict=True):
            if not part.strip():
                raise UserError(f"{at}: empty text in column {name!r}; remove the question")
        asked, context = pair
        questions.append(Question(str(id_), asked, context, *_answers(cell, context, at)))
    return Rows(pairs, questions, list(numbers), table.place, "question_answering")


def _answers(cell: Any, context: str, at: str) -> tuple[list[str], list[int]]:
    try:
        given = list(zip(list(cell["text"]), list(cell["answer_start"]), strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{at}: the answers {str(cell)[:60]!r} are no lists 'text' and 'answer_start' of the "
            "same length; choose the column with --data.label"
        ) from error
    texts, starts = [], []
    for text, start in given:
        if not isinstance(text, str) or context[start : start + len(text)] != text:
            found = context[start : start + len(str(text))]
            raise UserError(
                f"{at}: the answer {text!r} is not at character {start} of the context, where "
                f"{found!r} stands; correct answer_start"
            )
        if not text.strip():
            raise UserError(f"{at}: an answer without text; remove it")
        texts.append(text.strip())
        starts.append(int(start) + len(text) - len(text.lstrip()))
    return texts, starts


def windowed_split(rows: Rows, tokeniser: Tokeniser, stride: int, what: str) -> Split:
    """The windows of all questions, with where the first answer to each lies."""
    found = tokeniser.windows(rows.texts, stride, what)
    windows = [
        Window(number, rows.labels[number], offsets)
        for number, offsets in zip(found.examples, found.offsets, strict=True)
    ]
    return Split(
        [rows.texts[number] for number in found.examples],
        found.tokens.input_ids,
        found.tokens.token_type_ids,
        [_span(window) for window in windows],
        found.tokens.truncated,
        windows=windows,
    )


def _span(window: Window) -> tuple[int, int]:
    """First and last token of the first answer, 0 and 0 if it does not lie in the window."""
    question = window.question
    if not question.answers:
        return 0, 0
    begin = question.starts[0]
    end = begin + len(question.answers[0])
    (context,) = np.nonzero(window.offsets[:, 1])
    starts, ends = window.offsets[context].T
    if begin < starts[0] or end > ends[-1]:
        return 0, 0
    first = np.searchsorted(ends, begin, "right")
    last = np.searchsorted(starts, end, "left") - 1
    return int(context[first]), int(context[last])
