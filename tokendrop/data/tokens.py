"""Text to token ids, once: the result is kept in a file named by what went in."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tqdm.auto import tqdm  # type: ignore[import-untyped]
from transformers import PreTrainedTokenizerBase

from tokendrop.data.json_parts import json_hash
from tokendrop.data.lazy import Made
from tokendrop.data.remembered import remember, remembered
from tokendrop.data.split import Numbers, Tokens, Windows
from tokendrop.data.words import words_of_tokens
from tokendrop.errors import UserError, tokenizer_panics

_CHUNK = 1000  # rows tokenised between two steps of the progress bar
_SECONDS_BEFORE_BAR = 3
_QUESTION = 64  # tokens of a question at most, as in the original code of BERT

_TYPES = {"truncated": pa.bool_(), "example": pa.int32(), "token_type_ids": pa.list_(pa.int8())}
_LISTS = pa.list_(pa.int32())

_Row = dict[str, Any]


class Tokeniser:
    """A tokenizer with a maximum length and a folder that remembers what it has done."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path | None = None
    ) -> None:
        """
        Args:
            tokenizer: a fast tokenizer.
            max_length: tokens of a row at most; of a pair the longer text is cut first.
            folder: where results are kept; they are not if there is none.
        """
        self._tokenizer: Any = tokenizer
        self._max_length = max_length
        self._folder = folder

    @cached_property
    def identity(self) -> str:
        """All that decides the token ids of a text, as a string."""
        backend = json.loads(self._tokenizer.backend_tokenizer.to_str())
        # left behind by the last call, whatever it was
        del backend["truncation"], backend["padding"]
        # the usual one is left out, so that what earlier versions wrote is found again
        side = self._tokenizer.truncation_side
        kept = [backend, self._max_length, *([side] if side != "right" else [])]
        # Hugging Face sets it at each call, so the backend does not say it
        if self._tokenizer.split_special_tokens:
            kept.append("split_special_tokens")
        return json.dumps(kept, sort_keys=True)

    @cached_property
    def untyped(self) -> bool:
        """Whether the second text of a pair has a mark that the tokenizer keeps to itself.

        Hugging Face gives a model no token types then, whatever the tokenizer's file says.
        """
        if "token_type_ids" in self._tokenizer.model_input_names:
            return False
        with tokenizer_panics():
            return any(self._tokenizer("a", "a", return_token_type_ids=True).token_type_ids)

    def __call__(self, texts: Sequence[tuple[str, ...]], what: str) -> Tokens:
        """Tokenise, or read what an earlier call with the same texts wrote.

        Args:
            texts: N texts or pairs.
            what: shown beside the progress bar.

        Raises:
            UserError: no room for a text beside the special tokens, or the folder of results
                cannot be written to.
        """
        self._check_room(pair=len(texts[0]) > 1)

        def columns(chunk: list[tuple[str, ...]]) -> list[_Row]:
            return self._rows(*(list(column) for column in zip(*chunk, strict=True)))

        return _tokens(self._remembered(texts, {}, columns, what))

    def words(
        self, sentences: Sequence[list[str]], what: str, before: Sequence[str] | None = None
    ) -> tuple[Tokens, Sequence[list[int]]]:
        """Tokenise sentences that are already cut into words.

        Args:
            sentences: N lists of words.
            what: shown beside the progress bar.
            before: the first text of each pair whose second one is the sentence.

        Returns:
            the tokens, and for each of them the number of its word, -1 for other tokens.

        Raises:
            UserError: as in :meth:`__call__`.
        """
        self._check_room(pair=before is not None)

        def split(chunk: list[tuple[Any, ...]]) -> list[_Row]:
            *first, cut = (list(column) for column in zip(*chunk, strict=True))
            # as running text, not word by word: byte-level tokenizers mark the space before a word
            rows = self._rows(*first, [" ".join(words) for words in cut])
            for words, row in zip(cut, rows, strict=True):
                row["words"] = words_of_tokens(words, row["encoding"], len(first))
            return rows

        parts = [sentences] if before is None else [before, sentences]
        rows = Made(lambda *row: row, *parts)
        table = self._remembered(rows, {"words": True}, split, what)
        return _tokens(table), _numbers(table["words"])

    def windows(self, pairs: Sequence[tuple[str, ...]], stride: int, what: str) -> Windows:
        """Tokenise questions with their contexts, a long context in overlapping windows.

        Args:
            pairs: question and context, N of them.
            stride: tokens of the context that neighbouring windows share.
            what: shown beside the progress bar.

        Raises:
            UserError: as in :meth:`__call__`, or the stride leaves a window no room to move on.
        """
        self._check_room(pair=True)

        def windowed(chunk: list[tuple[str, ...]]) -> list[_Row]:
            questions, contexts = (list(column) for column in zip(*chunk, strict=True))
            questions, longest, cut = self._questions(questions)
            if stride >= (room := self._room(longest)):
                raise UserError(
                    f"doc_stride {stride} must be below the {max(0, room)} tokens that max_length "
                    f"{self._max_length} leaves for a context beside a question of {longest}: "
                    "make max_length larger or doc_stride smaller"
                )
            rows = self._rows(
                *(questions, contexts),
                truncation="only_second",
                stride=stride,
                return_overflowing_tokens=True,
            )
            for row in rows:
                sides = row["encoding"].sequence_ids
                spans = [
                    span if side == 1 else (0, 0)
                    for side, span in zip(sides, row["encoding"].offsets, strict=True)
                ]
                row["starts"], row["ends"] = (list(side) for side in zip(*spans, strict=True))
                row["truncated"] = row["example"] in cut
            return rows

        table = self._remembered(pairs, {"stride": stride}, windowed, what)
        starts, ends = (_numbers(table[name]) for name in ("starts", "ends"))
        offsets = Made(_spans, starts, ends)
        examples = array("i", table["example"].to_numpy().tobytes())
        return Windows(_tokens(table), examples, offsets)

    def context_room(self, question: str) -> int:
        """Tokens of a context that a window has room for beside a question."""
        return self._room(self._questions([question])[1])

    def _room(self, question: int) -> int:
        return self._max_length - self._tokenizer.num_special_tokens_to_add(pair=True) - question

    def _questions(self, texts: list[str]) -> tuple[list[str], int, set[int]]:
        """Questions of 64 tokens at most, the length of the longest, and which were cut.

        One that would leave a window no room for a context gets half of it.
        """
        kept, lengths, cut = self._cut(texts, _QUESTION)
        long = [number for number, length in enumerate(lengths) if self._room(length) < 1]
        if long and (half := self._room(0) // 2) > 0:
            shorter, fewer, _ = self._cut([kept[number] for number in long], half)
            for number, text, length in zip(long, shorter, fewer, strict=True):
                kept[number], lengths[number] = text, length
        return kept, max(lengths), cut.union(long)

    @tokenizer_panics()
    def _cut(self, texts: list[str], most: int) -> tuple[list[str], list[int], set[int]]:
        """Texts of so many tokens at most, the length of each, and which were cut."""
        how = {"truncation": True, "max_length": most, "add_special_tokens": False}
        found = self._tokenizer(texts, **how).encodings
        cut = {number for number, row in enumerate(found) if row.overflowing}
        kept = [
            text[row.offsets[0][0] : row.offsets[-1][1]] if number in cut else text
            for number, (text, row) in enumerate(zip(texts, found, strict=True))
        ]
        return kept, [len(row.ids) for row in found], cut

    def _check_room(self, pair: bool) -> None:
        special = self._tokenizer.num_special_tokens_to_add(pair=pair)
        if self._max_length <= special:
            raise UserError(
                f"max_length {self._max_length} leaves no room beside {special} special tokens: "
                f"use --data.max_length {special + 1} or more"
            )

    @tokenizer_panics()
    def _rows(self, *texts: Any, **options: Any) -> list[_Row]:
        # a tokenizer built from a vocabulary knows no maximum: without one nothing is cut
        how = {"truncation": True, "max_length": self._max_length, **options}
        batch = self._tokenizer(*texts, **how)
        examples = batch.get("overflow_to_sample_mapping", range(len(texts[0])))
        return [
            {
                "encoding": e,
                "input_ids": e.ids,
                "token_type_ids": [0] * len(e.ids) if self.untyped else e.type_ids,
                "truncated": bool(e.overflowing),
                "example": int(example),
            }
            for e, example in zip(batch.encodings, examples, strict=True)
        ]

    def _remembered(
        self, texts: Sequence[Any], how: _Row, encode: Callable[[Any], list[_Row]], what: str
    ) -> pa.Table:
        """The rows of a table by what went into them: tokenizer, texts, and how."""
        made = _tokenise(texts, encode, what)
        how = how | ({"types": False} if self.untyped else {})
        if self._folder is None:
            return pa.Table.from_batches(made)
        file = self._folder / f"{json_hash([self.identity, how, texts], 1)}.arrow"
        table = remembered(file, len(texts))
        if table is None:
            table = remember(made, file)
        return table


def _tokenise(
    texts: Sequence[Any], encode: Callable[[Any], list[_Row]], what: str
) -> Iterator[pa.RecordBatch]:
    # a batch per chunk: the numbers of a whole data set as Python objects take gigabytes
    starts = range(0, len(texts), _CHUNK)
    bar = tqdm(starts, f"tokenise {what}", delay=_SECONDS_BEFORE_BAR, disable=None, leave=False)
    for start in bar:
        rows = encode(texts[start : start + _CHUNK])
        for row in rows:
            row["example"] += start
        yield pa.RecordBatch.from_pydict(
            {
                name: pa.array([row[name] for row in rows], _TYPES.get(name, _LISTS))
                for name in rows[0]
                if name != "encoding"
            }
        )


def _spans(starts: list[int], ends: list[int]) -> NDArray[np.int32]:
    return np.array([starts, ends], np.int32).T


def _tokens(table: pa.Table) -> Tokens:
    return Tokens(
        _numbers(table["input_ids"]),
        _numbers(table["token_type_ids"]),
        pc.count_distinct(table["example"].filter(table["truncated"])).as_py(),
    )


def _numbers(column: pa.ChunkedArray) -> Numbers:
    return Numbers([(part.values.to_numpy(), part.offsets.to_numpy()) for part in column.chunks])
