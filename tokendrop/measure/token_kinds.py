"""What kind of token a token is: a word, a piece of one, punctuation, a mark of the tokenizer."""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from unicodedata import category

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tokendrop.engine.packed import Batch

KINDS = ("special", "punctuation", "function word", "content word", "sub-word piece")
SPECIAL, PUNCTUATION, FUNCTION, CONTENT, PIECE = range(len(KINDS))

# English words of the closed classes; lists of stop words hold content words too ("thin", "fire")
_FUNCTION_WORDS = """
a an the this that these those some any each every no all both either neither
i you he she it we they me him her us them my your his its our their mine yours hers ours theirs
myself yourself himself herself itself ourselves themselves who whom whose which what
of in on at by for with from to into onto about above below over under between among through during
before after against without within upon toward towards across behind beside beyond near as than
like per via off out up down and or but nor so yet if because although though while unless until
since whether when where why how not there here
am is are was were be been being do does did doing have has had having will would shall should can
could may might must ought
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


class Vocabulary:
    """What a tokenizer's tokens are: words, parts of words, punctuation, marks of its own."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """
        Args:
            tokenizer: a fast tokenizer.
        """
        self._tokenizer: Any = tokenizer
        self._special = set(tokenizer.all_special_ids)
        model = json.loads(self._tokenizer.backend_tokenizer.to_str())["model"]
        self._prefix = model.get("continuing_subword_prefix") or ""
        # word pieces mark what continues a word; byte pairs and sentence pieces what begins one
        self._marks_begin = not self._prefix and model["type"] != "WordLevel"
        self._described = cache(self._describe)

    def text(self, token: str) -> str:
        """A token for people, with a blank before it if it begins a word."""
        begins = not self._continues(token) or token in self._tokenizer.all_special_tokens
        return " " * begins + self._surface(token)

    def _continues(self, token: str) -> bool:
        if self._marks_begin:
            return not token.startswith(("Ġ", "▁"))
        return bool(self._prefix) and token.startswith(self._prefix)

    def _surface(self, token: str) -> str:
        token = token.removeprefix(self._prefix)
        return str(self._tokenizer.convert_tokens_to_string([token])).strip()

    def _describe(self, index: int) -> tuple[bool, bool, bool, bool]:
        """Whether a token is special, punctuation, a function word, and continues a word."""
        token = self._tokenizer.convert_ids_to_tokens(index)
        surface = self._surface(token)
        return (
            index in self._special,
            all(category(letter)[0] in "PS" for letter in surface),  # also a blank alone
            surface.lower() in FUNCTION_WORDS,
            self._continues(token),
        )

    def kinds(self, batch: Batch) -> Tensor:
        """(T,) the index in :data:`KINDS` of each token of a batch.

        The first piece of a word that is cut in pieces counts as the word, the others as pieces.
        Function words are English ones; in another language all words are content words.
        """
        rows = [self._described(index) for index in batch.input_ids.tolist()]
        special, punctuation, function, continues = torch.tensor(rows).unbind(1)
        if self._marks_begin:
            # nothing marks a word that follows a special token, a row's start or a bracket
            before = (special | punctuation).roll(1)
            continues = continues & ~(before | batch.layout.is_first.cpu())
        piece = continues & ~special & ~punctuation
        cut = piece.roll(-1) & ~batch.layout.is_first.cpu().roll(-1)
        kinds = torch.full((len(rows),), CONTENT)
        kinds[function & ~cut] = FUNCTION
        kinds[piece] = PIECE
        kinds[punctuation] = PUNCTUATION
        kinds[special] = SPECIAL
        return kinds
