"""What differs between the kinds of task on the way from a file to tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokendrop.data.batching import Split
from tokendrop.data.questions import read_questions, read_squad, windowed_split
from tokendrop.data.rationales import is_eraser, tokenised_rationales, with_documents
from tokendrop.data.rows import Rows, class_names, read_classes, read_numbers
from tokendrop.data.sources import Table, read_file
from tokendrop.data.tags import is_conll, read_conll, read_sentences, tagged_split
from tokendrop.data.tokens import Tokeniser
from tokendrop.tasks import Kind


@dataclass(frozen=True)
class Columns:
    """Where the parts of an example stand, by default, and how its rows are read.

    Attributes:
        text: columns of the text.
        counts: how many of them there may be.
        label: column of the label.
        read: rows of a table.
    """

    text: tuple[str, ...]
    counts: tuple[int, ...]
    label: str
    read: Callable[[Table, Sequence[str], str], Rows]


COLUMNS: dict[Kind, Columns] = {
    "classification": Columns(("text",), (1, 2), "label", read_classes),
    "regression": Columns(("text",), (1, 2), "label", read_numbers),
    "token_classification": Columns(("tokens",), (1,), "tags", read_sentences),
    "question_answering": Columns(("question", "context"), (2,), "answers", read_questions),
}


def read_table(
    kind: Kind, path: str, text: Sequence[str], label: str, columns: Sequence[str] | None = None
) -> Table:
    """The table of a file; one in the form of CoNLL or SQuAD gets its columns by these names,
    one in ERASER's form its documents.
    """
    if kind == "token_classification" and is_conll(path):
        return read_conll(path, text[0], label)
    if kind == "question_answering":
        return read_squad(path, text, label)
    table = read_file(path, columns)
    return with_documents(table) if is_eraser(table) else table


def names_of(kind: Kind, splits: dict[str, Rows], declared: list[str] | None) -> list[str]:
    """The classes or tags of the rows; none where an answer is a number or a text."""
    if kind in ("regression", "question_answering"):
        return []
    return class_names(splits, declared)


def tokenised(
    rows: Rows, tokeniser: Tokeniser, labels: list[str], doc_stride: int, what: str
) -> Split:
    """The rows as a split, with labels as the task reads them."""
    if rows.kind == "token_classification":
        return tagged_split(rows, tokeniser, labels, what)
    if rows.kind == "question_answering":
        return windowed_split(rows, tokeniser, doc_stride, what)
    if rows.rationales is None:
        tokens, rationales = tokeniser(rows.texts, what), None
    else:
        tokens, rationales = tokenised_rationales(rows, tokeniser, what)
    found = rows.labels
    if rows.kind == "classification":
        number = {name: index for index, name in enumerate(labels)}
        found = [number[name] for name in rows.labels]
    return Split(
        *(rows.texts, tokens.input_ids, tokens.token_type_ids, found, tokens.truncated),
        rationales=rationales,
    )


def content(split: Split) -> list[object]:
    """All that the loss and the scores of a split depend on, beside the tokens."""
    used: list[object] = [split.texts, split.labels]
    if split.sentences is not None:
        used.append([[sentence.words, sentence.tags] for sentence in split.sentences])
    if split.windows is not None:
        used.append(
            [
                [w.number, w.question.id, w.question.answers, w.question.starts]
                for w in split.windows
            ]
        )
    return used
