"""Sentences with a tag for each word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np

from tokendrop.data.cells import loose, missing
from tokendrop.data.encoding import check_text, encoding_of, half_a_character
from tokendrop.data.entities import to_iob2
from tokendrop.data.lazy import Made
from tokendrop.data.rows import SEVERAL, Rows, class_name, refuse
from tokendrop.data.sources import Table, check_columns, existing
from tokendrop.data.split import IGNORED, Sentence
from tokendrop.errors import UserError, one_line

# what the columns of words and of tags are called
_WORD_NAMES = re.compile("(word|token|form|text)s?", re.IGNORECASE)
_TAG_NAMES = re.compile("((ner|pos|iob|bio|chunk)[_ -]?)?(tag|label)s?|ner|pos", re.IGNORECASE)


def read_conll(path: str, words: str, tags: str, folder: Path | None = None) -> Table:
    """Sentences of a file in the columns of the CoNLL shared tasks.

    A line is a word, then other columns that are not read, and last its tag. Columns have one tab
    between them where most lines have a tab, so that a word may hold blanks; else blanks or tabs.
    No other white space parts them. A blank line ends a sentence. Lines of -DOCSTART- are left out.

    Args:
        path: the file, with any suffix or none.
        words: the column of the table that gets the words.
        tags: the column that gets the tags.
        folder: for the file that holds the rows, see :func:`tokendrop.data.cells.mapped`.

    Raises:
        UserError: no such file, it is no text, its words are numbered, it has comments or a
            header, or a line has a word without a tag or a tag without a word.
    """
    file = existing(path)
    try:
        check_text(file)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable text file ({one_line(error)})") from error
    filled = with_tabs = hashes = 0
    for line in _lines(file):
        filled += bool(line)
        with_tabs += "\t" in line
        hashes += line.lstrip().startswith("#")
    tabs = 2 * with_tabs > filled
    _refuse_numbered((_fields(line, tabs) for line in _lines(file)), file)
    if hashes:
        _refuse_comments((_fields(line, tabs) for line in _lines(file)), file)
    _refuse_header((_fields(line, tabs) for line in _lines(file)), file)
    sentences = loose([words, tags], _sentences(file, path, tabs), folder)
    return Table(sentences, path, folder=folder)


def _lines(file: Path) -> Iterator[str]:
    """The lines of a file, "" for those of white space alone."""
    with file.open(encoding=encoding_of(file)) as lines:
        yield from (line.rstrip("\n") if line.strip() else "" for line in lines)


def _sentences(file: Path, path: str, tabs: bool) -> Iterator[tuple[list[str], list[str]]]:
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate(_lines(file), 1):
        fields = _fields(line, tabs)
        if not fields or fields[0] == "-DOCSTART-":
            if words:
                yield words, tags
                words, tags = [], []
            continue
        at = f"{path}, line {number}"
        if len(fields) < 2 or not fields[-1]:
            raise UserError(
                f"{at}: {fields[0]!r} has no tag; each line needs a word and, as its last column, "
                f"the tag, with {'a tab' if tabs else 'blanks'} between them, as most lines have"
            )
        if not fields[0]:
            raise UserError(f"{at}: the tag {fields[-1]!r} has no word before it; correct the line")
        words.append(fields[0])
        tags.append(fields[-1])
    if words:
        yield words, tags


def _fields(line: str, tabs: bool) -> list[str]:
    if not line:
        return []
    if not tabs:
        return re.split(r"[ \t]+", line.strip(" \t"))
    return [field.strip(" ") for field in line.rstrip(" ").removesuffix("\t").split("\t")]


def _refuse_numbered(rows: Iterable[Sequence[str]], file: Path) -> None:
    """Refuse a file whose first column counts the words, as CoNLL-U's does.

    Raises:
        UserError: it is one, with a command that takes the words and the tags out of it.
    """
    counted = False
    place, first, columns = 0, 0, 0
    for number, fields in enumerate(rows, 1):
        if not fields:
            place = 0
        elif not fields[0].startswith("#") and not re.fullmatch(r"\d+[-.]\d+", fields[0]):
            place += 1
            if fields[0] not in (str(place), str(place - 1)) or len(fields) < 3:
                return
            counted = counted or place > 1
            if not first:
                first, columns = number, len(fields)
    if counted:
        form, tag = ("CoNLL-U", 4) if columns == 10 else ("numbered columns", columns)
        raise UserError(
            f"{file}, line {first}: {form}, where words have numbers before them; write the words "
            f"and their tags alone: grep -vE '^(#|[0-9]+[-.])' {file.name} | cut -f 2,{tag} > "
            f"{file.stem}.conll"
        )


def _refuse_comments(rows: Iterable[Sequence[str]], file: Path) -> None:
    """Refuse a file with comments above its sentences, such as MultiCoNER's ``# id 7 domain=en``.

    The word # is told from them by its tag, which it shares with other words or which is "#".

    Raises:
        UserError: it has them, with a command that takes them out.
    """
    suspects: dict[str, tuple[int, str]] = {}
    others = {"#", ""}
    first = True
    for number, fields in enumerate(rows, 1):
        if fields:
            tag = fields[-1]
            if first and re.match(r"#(\s|$)", fields[0]):
                suspects.setdefault(tag, (number, " ".join(fields)))
            else:
                others.add(tag)
                first = False
        else:
            first = True
    for tag, (number, line) in suspects.items():
        if tag not in others:
            raise UserError(
                f"{file}, line {number}: {line!r:.60} looks like a comment, as no word has the tag "
                f"{tag!r:.40}; leave such lines out: grep -vE '^#[[:space:]]' {file.name} > "
                f"{file.stem}.conll"
            )


def _refuse_header(rows: Iterable[Sequence[str]], file: Path) -> None:
    """Refuse a file whose first line names its columns; it would be a word with a tag.

    Raises:
        UserError: it does, with a command that takes the line out.
    """
    number, fields = next(((n, fields) for n, fields in enumerate(rows, 1) if fields), (0, [""]))
    if _WORD_NAMES.fullmatch(fields[0]) and _TAG_NAMES.fullmatch(fields[-1]):
        raise UserError(
            f"{file}, line {number}: {' '.join(fields)!r:.60} looks like a header, which these "
            f"columns do not have; leave it out: tail -n +{number + 1} {file.name} > "
            f"{file.stem}.conll"
        )


def read_sentences(table: Table, text: Sequence[str], label: str) -> Rows:
    """Lists of words, each with a list of tags. Tags in IOB1 become IOB2.

    Raises:
        UserError: a column is missing, the table is empty, a cell is no list, a sentence has no
            words, or not as many tags as words; a word is no text, or a tag is a list, has white
            space or is -100.
    """
    (words,) = text
    check_columns(table, [words], "--data.text")
    check_columns(table, [label], "--data.label")
    if not len(table):
        raise UserError(f"{table.place}: no sentences; give a file with at least one")
    for column in (words, label):
        _refuse_no_lists(table, column)

    def named() -> Iterator[tuple[Sequence[object], list[str]]]:
        for number, row, tags in zip(count(1), table[words], table[label], strict=False):
            # the text of a list would be taken for the name of a tag
            several = [" ".join(repr(tag).split()) for tag in tags if isinstance(tag, SEVERAL)]
            what = f"{several[0]:.60} in the place of a tag" if several else ""
            refuse([number] if several else [], table.place, what, "give each word one tag")
            yield row, [class_name(tag, table.names) for tag in tags]

    empty, uneven, bare = [], "", []
    for number, (row, tags) in enumerate(named(), 1):
        if not len(row):
            empty.append(number)
        if len(row) != len(tags) and not uneven:
            uneven = (
                f"{table.place}, row {number}: {len(row)} words in column {words!r} but "
                f"{len(tags)} tags in column {label!r}; give every word its tag"
            )
        if "" in tags:
            bare.append(number)
    refuse(empty, table.place, "a sentence without words", "remove it")
    if uneven:
        raise UserError(uneven)
    refuse(bare, table.place, f"a word without a tag in column {label!r}", "tag it")
    columns = loose(["words", "tags"], _checked(named(), table.place), table.folder)
    (_, kept), (_, found) = columns
    return Rows(
        Made(_text, kept),
        Made(Sentence, kept, found),
        range(1, len(table) + 1),
        table.place,
        names=found,
    )


def _text(words: Sequence[str]) -> tuple[str]:
    return (" ".join(words),)


def _checked(
    rows: Iterable[tuple[Sequence[object], list[str]]], place: str
) -> Iterator[tuple[list[str], list[str]]]:
    """Words and tags in IOB2, once no word is none and each tag can stand beside others."""
    for number, (row, tags) in enumerate(rows, 1):
        for word, tag in zip(row, tags, strict=True):
            what = ""
            if missing(word) or not isinstance(word, str | int | float) or word == "":
                what = f"{word!r:.60} in the place of a word"
            elif half := half_a_character(f"{word}{tag}"):
                what = f"{half} of a word with its tag"
            elif len(tag.split()) > 1:
                what = f"white space in the tag {tag!r:.60}"
            elif tag == str(IGNORED):
                what = f"the tag {tag}, by which other tools leave tokens out of what is scored"
            refuse([number] if what else [], place, what, "correct it")
        yield list(map(str, row)), to_iob2(tags)


def _refuse_no_lists(table: Table, column: str) -> None:
    for number, cell in enumerate(table[column], 1):
        if not isinstance(cell, (list, np.ndarray)):
            held = "nothing" if missing(cell) else f"a {type(cell).__name__}"
            raise UserError(
                f"{table.place}, row {number}: column {column!r} holds {held}, not a list with an "
                "entry for each word; choose another with --data.text or --data.label"
            )


def is_conll(path: str) -> bool:
    """Whether a file of tagged words has one word per line: all but JSON and Parquet."""
    return Path(path).suffix.lower() not in (".json", ".jsonl", ".parquet")
