"""What a model answers for one text, and the texts as the evaluation would tokenise them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from numbers import Integral

from tokendrop.data.encoding import half_a_character
from tokendrop.data.split import Split
from tokendrop.data.tokens import Tokeniser
from tokendrop.errors import UserError, brief
from tokendrop.tasks import Answering, Task
from tokendrop.tasks.given import split_of

Text = str | tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """The answer for one text.

    Attributes:
        label: name of the most probable class; a number, rounded; the tags of the words, with
            blanks between them; or the answer to a question, in the words of its context.
        probabilities: by class name; empty where the answer is no class.
        tokens: the text as the model saw it, special tokens included; of a long context the
            window that the answer is from.
        token_depth: for each token, the layers it went through; 0 if dropped in the first. Empty
            where an engine runs the model, which does not tell.
        row_depth: layers after which the row left; 0 where an engine does not tell.
        layers: layers of the backbone.
        value: the number that a regression answers with, as it is; None for other tasks.
    """

    label: str
    probabilities: dict[str, float]
    tokens: list[str]
    token_depth: list[int]
    row_depth: int
    layers: int
    value: float | None = None


def checked(texts: Sequence[Text], kind: type[Task]) -> list[tuple[str, ...]]:
    """The parts of each text.

    Raises:
        UserError: one text instead of a list, something else than a text, an empty one, or one
            that this kind of task has no answer for.
    """
    check_several(texts, Collection, "predict")
    found = []
    for number, text in enumerate(texts, start=1):
        place = f"text {number} of {len(texts)}"
        _check(text, place)
        if is_blank(text):
            raise UserError(f"{place} is empty: leave it out")
        found.append(parts_of(text, kind, place))
    return found


def check_several(texts: object, kind: type, method: str) -> None:
    """Raise for one text, which could be taken for its letters, and for what holds no texts.

    Args:
        texts: what was given.
        kind: what holds them.
        method: that they were given to.

    Raises:
        UserError: with what to give instead.
    """
    takes = f"{method} takes a list of texts"
    if isinstance(texts, str):
        raise UserError(f"{takes}, not one text: {method}([{texts!r:.60}])")
    # the texts of a dictionary would be its names, and a set has no order to answer in
    if not isinstance(texts, kind) or isinstance(texts, Mapping | Set):
        raise UserError(f"{takes}, not {' '.join(repr(texts).split()):.60}")
    # so would those of a table, whichever library it is of
    if names := [str(name) for name in getattr(texts, "columns", ())]:
        raise UserError(f"{takes}, not a table: give one of its columns ({', '.join(names):.60})")


def is_blank(text: Text) -> bool:
    """Whether there is nothing to answer for."""
    return not any(not isinstance(part, str) or part.strip() for part in _parts(text))


def parts_of(text: Text, kind: type[Task], place: str) -> tuple[str, ...]:
    """The parts of a text that is not blank.

    Raises:
        UserError: it is no text, or this kind of task has no answer for it; it stands at this
            place.
    """
    _check(text, place)
    parts = _parts(text)
    if complaint := kind.complaint(parts):
        raise UserError(f"{place} {complaint}")
    return parts


def _check(text: object, place: str) -> None:
    parts = text if isinstance(text, tuple) else (text,)
    for part in parts:
        if not isinstance(part, str):
            raise UserError(f"{place} is {brief(text)}: give a text, or a tuple of two")
        if half := half_a_character(part):
            raise UserError(f"{place} has {half}: correct it")


def check_batch_size(size: int) -> None:
    """Raise for no number of rows.

    Raises:
        UserError: it is not 1 or more.
    """
    # an Integral is also one of numpy's
    if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
        raise UserError(f"batch_size {brief(size)} cannot be used: use a whole number, 1 or more")


def _parts(text: Text) -> tuple[str, ...]:
    return text if isinstance(text, tuple) else (text,)


def tokenised(
    texts: Sequence[tuple[str, ...]],
    kind: type[Task],
    tokeniser: Tokeniser,
    labels: Sequence[str],
    answering: Answering,
) -> Iterator[tuple[list[int], Split]]:
    """Texts that can be tokenised together, by their numbers, as an unlabelled split.

    Raises:
        UserError: no room for a text beside the special tokens.
    """
    alike: dict[tuple[int, int], list[int]] = {}
    for number, text in enumerate(texts):
        stride = kind.fitting_stride(text, tokeniser, answering.doc_stride)
        alike.setdefault((len(text), stride), []).append(number)
    for (_, stride), numbers in alike.items():
        rows = kind.unlabelled_rows([texts[number] for number in numbers])
        yield numbers, split_of(kind, rows, tokeniser, labels, stride, "texts")
