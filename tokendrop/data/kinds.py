"""What differs between the kinds of task on the way from a file to tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from tokendrop.data.batching import Split
from tokendrop.data.questions import read_questions, read_squad, windowed_split
from tokendrop.data.rationales import is_eraser, tokenised_rationales, with_documents
from tokendrop.data.rows import Rows, class_names, read_classes, read_numbers
from tokendrop.data.sources import Table, read_file
from tokendrop.data.tags import is_conll, read_conll, read_sentences, tagged_split
from tokendrop.data.tokens import Tokeniser
from tokendrop.errors import UserError
from tokendrop.tasks import (
    Kind,
    MetricName,
    QuestionAnswering,
    Regression,
    SequenceClassification,
    Task,
    TokenClassification,
)


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


def posed_task(
    kind: Kind,
    metric: MetricName,
    labels: list[str],
    splits: dict[str, Split],
    class_weights: Literal["balanced"] | list[float] | None,
) -> Task:
    """The task that data pose.

    Args:
        kind: of the task.
        metric: what methods are compared in.
        labels: names of the classes or tags.
        splits: the rows.
        class_weights: of classification, see :class:`tokendrop.data.TextData`.

    Raises:
        UserError: a metric or class weights that do not fit.
    """
    if kind == "regression":
        return Regression(metric)
    if kind == "token_classification":
        return TokenClassification(labels, metric)
    if kind == "question_answering":
        windows = chain.from_iterable(split.windows or [] for split in splits.values())
        return QuestionAnswering(metric, any(not w.question.answers for w in windows))
    if class_weights == "balanced":
        train = splits["train"]
        counts = Counter(train.labels)
        # a class that a small run never drew counts as drawn once
        balanced = [len(train) / (len(labels) * max(1, counts[c])) for c in range(len(labels))]
        return SequenceClassification(labels, metric, balanced)
    if class_weights is not None and (len(class_weights) != len(labels) or min(class_weights) <= 0):
        raise UserError(
            f"class_weights {class_weights} must be a positive number for each of the "
            f"{len(labels)} classes {', '.join(labels)}"
        )
    return SequenceClassification(labels, metric, class_weights)
