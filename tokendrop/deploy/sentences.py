"""Texts that an exported model is checked on, where there are no others."""

from __future__ import annotations

from collections.abc import Sequence

from tokendrop.data.tokens import Tokeniser
from tokendrop.deploy.check import Rows
from tokendrop.deploy.graph import check_head
from tokendrop.models.model import TokenDropModel
from tokendrop.models.prediction import tokenised
from tokendrop.tasks import kind_named

SENTENCES = (
    "Short.",
    "A quiet film that says little and means a lot.",
    "The second half drags on, and no actor could have saved a plot as thin as this one.",
    "I came for the music, stayed for the jokes, and left with the feeling that somebody who had "
    "never met a teenager wrote about them for two hours; still, the ending made up for most of "
    "it, and the friends whom I took along want to see it again.",
)


def own_sentences(model: TokenDropModel) -> Rows:
    """Sentences of our own and pairs of them, as this model reads them.

    Raises:
        UserError: it does not answer once for a text.
    """
    check_head(model.backbone)
    pairs = [(one, other) for one in SENTENCES for other in SENTENCES]
    texts = [*((text,) for text in SENTENCES), *pairs]
    return rows_of(model, texts, "sentences of our own")


def rows_of(model: TokenDropModel, texts: Sequence[tuple[str, ...]], what: str) -> Rows:
    """Texts as this model reads them.

    Args:
        model: whose tokenizer cuts them.
        texts: the parts of each.
        what: where they are from, for people.
    """
    kind = kind_named(model.answering.kind)
    tokeniser = Tokeniser(model.tokenizer, model.shape.max_tokens)
    ids: list[list[int]] = []
    types: list[list[int]] = []
    for _, split in tokenised(texts, kind, tokeniser, model.labels, model.answering):
        ids += split.input_ids
        types += split.token_type_ids
    return Rows(ids, types, what)
