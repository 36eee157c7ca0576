"""Sentences with a tag for each word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tokendrop.data.encoding import read_text
from tokendrop.data.entities import to_iob2
from tokendrop.data.rows import Rows, class_name, missing, refuse
from tokendrop.data.sources import Table, check_columns, existing
from tokendrop.data.split import Sentence
from tokendrop.errors import UserError, one_line


def read_conll(path: str, words: str, tags: str) -> Table:
    """Sentences of a file in the columns of the CoNLL shared tasks.

    A line is a word, then other columns that are not read, and last its tag, separated by white
    space; a blank line ends a sentence. Lines of -DOCSTART- are left out.

    Args:
        path: the file, with any suffix or none.
        words: the column of the table that gets the words.
        tags: the column that gets the tags.

    Raises:
        UserError: no such file, it is no text, or a line has a word without a tag.
    """
    file = existing(path)
    try:
        content = read_text(file)
    except OSError as error:
        raise UserError(f"{path}: not a readable text file ({one_line(error)})") from error
    sentences: list[tuple[list[str], list[str]]] = [([], [])]
    for number, line in enumerate(content.split("\n"), 1):
        fields = line.split()
        if not fields or fields[0] == "-DOCSTART-":
            if sentences[-1][0]:
                sentences.append(([], []))
            continue
        if len(fields) < 2:
            raise UserError(
                f"{path}, line {number}: {line.strip()!r} has no tag; each line needs a word and, "
                "as its last column, the tag"
            )
        sentences[-1][0].append(fields[0])
        sentences[-1][1].append(fields[-1])
    if not sentences[-1][0]:
        sentences.pop()
    return Table(pd.DataFrame(sentences, columns=[words, tags]), path)


def read_sentences(table: Table, text: Sequence[str], label: str) -> Rows:
    """Lists of words, each with a list of tags. Tags in IOB1 become IOB2.

    Raises:
        UserError: a column is missing, the table is empty, a cell is no list, a sentence has no
            words, or not as many tags as words.
    """
    (words,) = text
    check_columns(table, [words], "text")
    check_columns(table, [label], "label")
    if table.frame.empty:
        raise UserError(f"{table.place}: no sentences; give a file with at least one")
    columns = [_lists(table, column) for column in (words, label)]
    pairs = list(zip(*columns, strict=True))
    empty = [number for number, (row, _) in enumerate(pairs, 1) if not row]
    refuse(empty, table.place, "a sentence without words", "remove it")
    for number, (row, tags) in enumerate(pairs, 1):
        if len(row) != len(tags):
            raise UserError(
                f"{table.place}, row {number}: {len(row)} words in column {words!r} but "
                f"{len(tags)} tags in column {label!r}; give every word its tag"
            )
    named = [[class_name(tag, table.names) for tag in tags] for _, tags in pairs]
    bare = [number for number, tags in enumerate(named, 1) if "" in tags]
    refuse(bare, table.place, f"a word without a tag in column {label!r}", "tag it")
    sentences = [
        Sentence([str(word) for word in row], to_iob2(tags))
        for (row, _), tags in zip(pairs, named, strict=True)
    ]
    return Rows(
        [(" ".join(sentence.words),) for sentence in sentences],
        sentences,
        list(range(1, len(sentences) + 1)),
        table.place,
        names=[sentence.tags for sentence in sentences],
    )


def _lists(table: Table, column: str) -> list[list[object]]:
    cells = []
    for number, cell in enumerate(table.frame[column].tolist(), 1):
        if not isinstance(cell, (list, np.ndarray)):
            held = "nothing" if missing(cell) else f"a {type(cell).__name__}"
            raise UserError(
                f"{table.place}, row {number}: column {column!r} holds {held}, not a list with an "
                "entry for each word; choose another with --data.text or --data.label"
            )
        cells.append(list(cell))
    return cells


def is_conll(path: str) -> bool:
    """Whether a file of tagged words has one word per line: all but JSON and Parquet."""
    return Path(path).suffix.lower() not in (".json", ".jsonl", ".parquet")
