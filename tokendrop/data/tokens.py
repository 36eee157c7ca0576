"""Text to token ids, once: the result is kept in a file named by what went in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm  # type: ignore[import-untyped]
from transformers import PreTrainedTokenizerBase

from tokendrop.errors import UserError
from tokendrop.files import whole_file

_CHUNK = 1000  # rows tokenised between two steps of the progress bar
_SECONDS_BEFORE_BAR = 3


@dataclass(frozen=True)
class Tokens:
    """Token ids of N rows.

    Attributes:
        input_ids: special tokens included.
        token_type_ids: 1 in the second text of a pair, where the tokenizer marks it.
        truncated: how many rows lost their end.
    """

    input_ids: list[list[int]]
    token_type_ids: list[list[int]]
    truncated: int


class Tokeniser:
    """A tokenizer with a maximum length and a folder that remembers what it has done."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path) -> None:
        """
        Args:
            tokenizer: a fast tokenizer.
            max_length: tokens of a row at most; of a pair the longer text is cut first.
            folder: where results are kept.
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
        return json.dumps([backend, self._max_length], sort_keys=True)

    def __call__(self, texts: list[tuple[str, ...]], what: str) -> Tokens:
        """Tokenise, or read what an earlier call with the same texts wrote.

        Args:
            texts: N texts or pairs.
            what: shown beside the progress bar.

        Raises:
            UserError: no room for a text beside the special tokens, or the folder of results
                cannot be written to.
        """
        special = self._tokenizer.num_special_tokens_to_add(pair=len(texts[0]) > 1)
        if self._max_length <= special:
            raise UserError(
                f"max_length {self._max_length} leaves no room beside {special} special tokens: "
                f"use --data.max_length {special + 1} or more"
            )
        digest = hashlib.sha256(json.dumps([self.identity, texts]).encode()).hexdigest()
        file = self._folder / f"{digest}.parquet"
        table = _read(file, len(texts))
        if table is None:
            table = self._tokenise(texts, what)
            _write(table, file)
        return Tokens(
            _lists(table["input_ids"]),
            _lists(table["token_type_ids"]),
            sum(table["truncated"].to_pylist()),
        )

    def _tokenise(self, texts: list[tuple[str, ...]], what: str) -> pa.Table:
        encodings: list[tuple[list[int], list[int], bool]] = []
        starts = range(0, len(texts), _CHUNK)
        bar = tqdm(starts, f"tokenise {what}", delay=_SECONDS_BEFORE_BAR, disable=None, leave=False)
        for start in bar:
            columns = [list(column) for column in zip(*texts[start : start + _CHUNK], strict=True)]
            # a tokenizer built from a vocabulary knows no maximum: without one nothing is cut
            batch = self._tokenizer(*columns, truncation=True, max_length=self._max_length)
            encodings += [(e.ids, e.type_ids, bool(e.overflowing)) for e in batch.encodings]
        ids, types, truncated = zip(*encodings, strict=True)
        return pa.table(
            {
                "input_ids": pa.array(ids, pa.list_(pa.int32())),
                "token_type_ids": pa.array(types, pa.list_(pa.int32())),
                "truncated": pa.array(truncated, pa.bool_()),
            }
        )


def _lists(column: pa.ChunkedArray) -> list[list[int]]:
    # through one flat list: pyarrow's own conversion takes seconds for some million tokens
    rows = column.combine_chunks()
    flat, ends = rows.values.to_numpy().tolist(), rows.offsets.to_numpy().tolist()
    return [flat[start:end] for start, end in pairwise(ends)]


def _read(file: Path, rows: int) -> pa.Table | None:
    """The remembered table, or None where there is none or it is damaged."""
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException):
        return None
    return table if table.num_rows == rows else None


def _write(table: pa.Table, file: Path) -> None:
    try:
        with whole_file(file) as draft:
            pq.write_table(table, draft, compression="zstd")
    except OSError as error:
        raise UserError(
            f"cannot write to the cache folder {file.parent} ({error.strerror}): name another "
            "with --data.cache or the environment variable TOKENDROP_CACHE"
        ) from error
