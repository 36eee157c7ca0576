"""Human rationales: which words of a document people gave as the reason for its class.

ERASER's release (DeYoung et al., ACL 2020) marks stretches of documents that lie in a folder of
their own; HateXplain (Mathew et al., AAAI 2021) has a list of 0 and 1 from each annotator. Both
become one mark for each word, and behind the tokenizer one for each token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from tokendrop.data.cells import loose, missing
from tokendrop.data.lazy import Made
from tokendrop.data.rows import Rows
from tokendrop.data.sources import Table
from tokendrop.data.split import IGNORED, Rationale, Tokens
from tokendrop.data.tokens import Tokeniser
from tokendrop.errors import UserError, one_line, unknown

DOCUMENT, MARKS = "document", "rationale"  # columns that the reader of ERASER's form adds
_LISTS = (list, np.ndarray)  # of JSON and of Parquet


def is_eraser(table: Table) -> bool:
    """Whether rows have the annotations of ERASER's release."""
    return {"annotation_id", "classification", "evidences"} <= set(table.called)


def with_documents(table: Table) -> Table:
    """Rows of ERASER with two columns more: the words of their document, and its marks.

    The document of a row is a file in the folder ``docs`` beside the table's: the one its evidence
    is in; without evidence the one of ``docids``, or of the row's own name. Its words are what
    white space separates, as the evidence counts them.

    Raises:
        UserError: a document that is missing or unreadable, evidence in several documents, outside
            its document, or in another form than the release has.
    """
    return table.with_columns(loose([DOCUMENT, MARKS], _documents(table), table.folder))


def _documents(table: Table) -> Iterator[tuple[list[str], list[bool]]]:
    """The words of each row's document, and whether they are marked."""
    folder = Path(table.place).expanduser().parent / "docs"

    @lru_cache(100)
    def words_of(name: str) -> list[str]:
        return (folder / name).read_text(encoding="utf-8").split()

    docids = table["docids"] if "docids" in table.called else repeat(None, len(table))
    cells = zip(table["annotation_id"], table["evidences"], docids, strict=True)
    for number, (own, evidences, named) in enumerate(cells, 1):
        place = f"{table.place}, row {number}"
        spans = _spans(evidences, place)
        names = list(dict.fromkeys(document for document, _, _ in spans))
        names = names or _named(named, place) or [str(own)]
        if len(names) > 1:
            raise UserError(
                f"{place}: it is about {len(names)} documents ({', '.join(names)}); only rows "
                "about one document can be read"
            )
        try:
            words = words_of(names[0])
        # ValueError: it is no text, or its name is none of a file
        except (OSError, ValueError) as error:
            raise UserError(
                f"{place}: cannot read its document {str(folder / names[0])!r} "
                f"({one_line(error)}); the folder 'docs' of the release belongs beside the file"
            ) from error
        marked = [False] * len(words)
        for _, start, end in spans:
            if not 0 <= start <= end <= len(words):  # the release has a few empty ones
                raise UserError(
                    f"{place}: evidence from word {start} to {end} is not inside its document "
                    f"{names[0]} of {len(words)} words; the two do not belong together"
                )
            marked[start:end] = [True] * (end - start)
        yield words, marked


def _spans(cell: Any, place: str) -> list[tuple[str, int, int]]:
    """Document, first word and word behind the last one of each piece of evidence."""
    try:
        # lists of JSON, arrays of Parquet
        found = [
            (span["docid"], span["start_token"], span["end_token"])
            for span in chain.from_iterable(cell)
        ]
        whole = all(
            isinstance(document, str) and _whole(start) and _whole(end)
            for document, start, end in found
        )
    except (TypeError, KeyError, IndexError):
        whole = False
    if not whole:
        raise UserError(
            f"{place}: its evidences ({_short(cell)}) are not lists of stretches with a docid, and "
            "whole numbers as start_token and end_token, as in ERASER's release: correct the row, "
            "or leave it out"
        )
    return found


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _named(cell: Any, place: str) -> list[str]:
    """The documents that a row names, none if it does not."""
    if missing(cell):
        return []
    names: list[Any] = list(cell) if isinstance(cell, _LISTS) else [None]
    if not all(isinstance(name, str) for name in names):
        raise UserError(
            f"{place}: its docids ({_short(cell)}) are not a list of names of documents: correct "
            "the row, or leave it out"
        )
    return names


def _short(cell: Any) -> str:
    shown = one_line(ValueError(repr(cell)))
    return shown if len(shown) <= 60 else f"{shown[:60]}..."


def check_marked(tables: Iterable[Table], column: str | None) -> None:
    """Refuse a column of rationales that no file has, as a misspelt one.

    Some may lack it, for usually only the test rows were marked.

    Raises:
        UserError: naming the nearest of the columns there are.
    """
    called = {str(name) for table in tables for name in table.called}
    if column is not None and column not in called:
        raise unknown("column of rationales (--data.rationale, null for none)", column, called)


def with_rationales(rows: Rows, table: Table, text: Sequence[str], column: str | None) -> Rows:
    """The rows with their rationales, if the table has that column.

    A cell is a list with 0 or 1 for each word of the last text, or several such lists, one of each
    annotator: a word is marked if more than half of them marked it. An empty list marks none.

    Raises:
        UserError: a cell that is no such list, or not as long as the text has words.
    """
    if column is None or column not in table.called:
        return rows
    return replace(rows, rationales=_marked(table, text[-1], column))


def _marked(table: Table, text: str, column: str) -> Sequence[Rationale]:
    def marked() -> Iterator[tuple[list[str], list[bool]]]:
        cells = zip(table[text], table[column], strict=True)
        for number, (document, cell) in enumerate(cells, 1):
            words = list(document) if isinstance(document, _LISTS) else _words(document)
            place = f"{table.place}, row {number}: column {column!r}"
            yield words, _majority(cell, len(words), place)

    columns = loose(["words", "marks"], marked(), table.folder)
    return Made(Rationale, *(cells for _, cells in columns))


def _words(cell: Any) -> list[str]:
    """Those of a text, of which a number is one and an empty cell has none."""
    return [] if missing(cell) else str(cell).split()


def _majority(cell: Any, words: int, place: str) -> list[bool]:
    if missing(cell):
        return [False] * words
    if not isinstance(cell, _LISTS):
        raise UserError(
            f"{place} holds a {type(cell).__name__}, not a list with 0 or 1 for each word; choose "
            "another with --data.rationale"
        )
    if len(cell) == 0:
        return [False] * words
    several = any(isinstance(one, _LISTS) for one in cell)
    lists = list(cell) if several else [cell]
    for one in lists:
        if not isinstance(one, _LISTS):
            raise UserError(
                f"{place} has {one!r:.60} beside lists of annotators: give each annotator a list, "
                "or leave it out"
            )
        if len(one) != words:
            raise UserError(
                f"{place} has {len(one)} marks but the text has {words} words; give every word "
                "its mark"
            )
        if odd := [mark for mark in one if isinstance(mark, _LISTS) or mark not in (0, 1)]:
            raise UserError(f"{place} has the mark {odd[0]!r:.60}; a word is marked with 1, else 0")
    return [2 * sum(votes) > len(lists) for votes in zip(*lists, strict=True)]


def tokenised_rationales(
    rows: Rows, tokeniser: Tokeniser, what: str
) -> tuple[Tokens, Sequence[Rationale]]:
    """Tokens of rows, and their rationales with a mark for each token.

    Args:
        rows: with rationales.
        tokeniser: cuts what is too long.
        what: shown beside the progress bar.
    """
    assert rows.rationales is not None
    documents = Made(lambda rationale: rationale.words, rows.rationales)
    before = Made(lambda text: text[0], rows.texts) if len(rows.texts[0]) > 1 else None
    tokens, words = tokeniser.words(documents, what, before)
    return tokens, Made(_tokenised, rows.rationales, words)


def _tokenised(rationale: Rationale, row: Sequence[int]) -> Rationale:
    marks = [IGNORED if word < 0 else int(rationale.marks[word]) for word in row]
    left = sum(rationale.marks[word] for word in set(row) if word >= 0)
    return replace(rationale, tokens=marks, cut=sum(rationale.marks) - left)
