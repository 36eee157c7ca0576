"""The settings of the data module, checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from tokendrop.bounds import Count, Natural, check
from tokendrop.configs import as_in_a_file
from tokendrop.data.local import Files, Source
from tokendrop.data.names import repeated
from tokendrop.errors import UserError
from tokendrop.tasks import KINDS, ClassWeights, Task, kind_named

SPLITS = ("train", "dev", "test")

# options that are not for every kind of task, and how a message speaks of them
_SPECIAL = {
    "class_weights": ("class_weights are", "leave them out"),
    "rationale": ("rationale is", "leave it out"),
    "label_map": ("label_map is", "leave it out"),
}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where rows come from, and how they are split, tokenised and batched.

    Attributes:
        dataset: by name, see :class:`tokendrop.data.TextData`.
        train: local file to train on instead of a dataset: .csv, .tsv and .txt (not quoted,
            as GLUE's), .json, .jsonl or .parquet, with named columns. Questions may be in
            SQuAD's .json, tagged words in the columns of CoNLL with any suffix or none.
        dev: local file by which the best checkpoint is chosen; cut from train if not given.
        test: local file whose scores are reported; cut from train if not given.
        dir: folder of local files: the relative paths of train, dev and test are looked up
            there; or else ``files``, which are read instead of the dataset.
        files: the publisher's files of the dataset, which ``dir`` holds.
        text: column of the text, or a list of two columns for pairs; "text" if not given,
            "tokens" (lists of words) for tags, "question" and "context" for questions. A
            text may also be a list of words.
        label: column of the class (integers and names both do), number, tags or answers;
            "label" if not given, "tags" or "answers" for those.
        rationale: column of human rationales of classes, which one file must have: a list
            with 0 or 1 for each word of the (last) text, or one such list of each annotator;
            "rationale" in ERASER's form, whose documents are the column "document".
        task: what is learned: a class ("classification"), a number ("regression"), a tag for
            each word ("token_classification"), or where the answer to a question lies
            ("question_answering").
        class_weights: how much a row of each class counts in the loss: a number by class,
            or "balanced" for the same total of each class.
        label_map: names that a finished model has for the classes or tags of the data, by the
            data's names, where the two differ: {neg: NEGATIVE, pos: POSITIVE}.
        tokenizer: backbone whose tokenizer is used: "minilm-l6", a model folder or a Hub
            model.
        max_length: tokens of a row at most, special tokens included. Longer rows lose their
            end, which is counted and said once; contexts of questions lose nothing.
        doc_stride: tokens that neighbouring windows of a context share, where it is longer
            than max_length allows beside a question.
        batch_size: rows of a batch.
        token_budget: cut training batches by this number of tokens instead of by rows, so
            that each costs about the same; at least max_length.
        train_rows: train on so many rows only, drawn by split_seed.
        dev_rows: the same for the dev split.
        test_rows: the same for the test split.
        dev_fraction: part of the training rows that becomes the dev split where none is
            given.
        test_fraction: the same for the test split.
        split_seed: which rows are cut off and drawn. Keep it to compare with earlier runs.
        seed: order of the training batches.
        cache: folder that remembers tokenised rows, and holds the rows of a file while they are
            used; the environment variable TOKENDROP_CACHE, else ~/.cache/tokendrop, if not given.
    """

    dataset: str | None = None
    train: str | None = None
    dev: str | None = None
    test: str | None = None
    dir: str | None = None
    files: Files | None = None
    text: str | list[str] | None = None
    label: str | None = None
    rationale: str | None = None
    task: str = "classification"
    class_weights: ClassWeights | None = None
    label_map: dict[str, str] | None = None
    tokenizer: str = "minilm-l6"
    max_length: Count = 128
    doc_stride: Natural = 128
    batch_size: Count = 32
    token_budget: Count | None = None
    train_rows: Count | None = None
    dev_rows: Count | None = None
    test_rows: Count | None = None
    dev_fraction: float = 0.1
    test_fraction: float = 0.1
    split_seed: int = 0
    seed: Natural = 0
    cache: str | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            UserError: an option out of its range, or no rows to train on named.
        """
        for name, value in dict(vars(self)).items():
            if name in ("dataset", *SPLITS) and hasattr(value, "to_parquet"):
                raise UserError(
                    f"{name} is a table in memory: write it to a file, as "
                    "table.to_parquet('rows.parquet'), and name that"
                )
            object.__setattr__(self, name, as_in_a_file(value))
        # whose names may be numbers, as those of classes are
        others = {name: value for name, value in vars(self).items() if name != "label_map"}
        check(others, get_type_hints(DataSettings, include_extras=True))
        check({"label_map": self.label_map}, {"label_map": dict[Any, str] | None})
        self._check_columns()
        for name in self.label_map or {}:
            if isinstance(name, bool):  # what YAML makes of yes, no, on and off
                raise UserError(
                    f"label_map has the name {name}: put a class called yes, no, on, off, true or "
                    "false in quotes"
                )
        for option, (what, cure) in _SPECIAL.items():
            if getattr(self, option) is not None and option not in self.kind.options:
                those = " and ".join(name for name in KINDS if option in KINDS[name].options)
                raise UserError(f"{what} for {those}: {cure} for {self.task}")
        if self.token_budget is not None and self.token_budget < self.max_length:
            raise UserError(
                f"token_budget {self.token_budget} is too small: use max_length, "
                f"{self.max_length}, or more"
            )
        dev, test = self.dev_fraction, self.test_fraction
        if not (0 < dev < 1 and 0 < test < 1 and dev + test < 1):
            raise UserError(
                f"dev_fraction {dev} and test_fraction {test} must be above 0 and together below "
                "1, to leave rows to train on"
            )

    def _check_columns(self) -> None:
        columns, allowed = self.text_columns, self.kind.counts
        if len(columns) not in allowed:
            counts = " or ".join(("no", "one", "two")[count] for count in allowed)
            plural = "s" * (allowed != (1,))
            raise UserError(f"text takes {counts} column{plural}, not {len(columns)}: {columns}")
        if (column := repeated(columns)) is not None:
            raise UserError(f"text names the column {column!r} twice: name it once, or another")
        if (label := self.label_column) in columns:
            raise UserError(
                f"text and label both name the column {label!r}: name another with --data.text or "
                "--data.label"
            )

    @property
    def kind(self) -> type[Task]:
        """The kind of task."""
        return kind_named(self.task)

    @cached_property
    def source(self) -> Source:
        """The one place that rows come from."""
        named = zip(SPLITS, (self.train, self.dev, self.test), strict=True)
        return Source.of(self.dataset, {n: path for n, path in named if path}, self.dir, self.files)

    @property
    def text_columns(self) -> list[str]:
        """Where the text or texts stand."""
        published = self.source.published
        given = (published and published.text) or self.text
        if given is None:
            return list(self.kind.text)
        return [given] if isinstance(given, str) else given

    @property
    def label_column(self) -> str:
        """Where the label stands."""
        published = self.source.published
        given = (published and published.label) or self.label
        return self.kind.label if given is None else given

    @property
    def row_limits(self) -> dict[str, int | None]:
        """How many rows are drawn, by split; None for all."""
        return dict(zip(SPLITS, (self.train_rows, self.dev_rows, self.test_rows), strict=True))

    @property
    def cache_folder(self) -> Path:
        """Where tokenised rows are remembered, and rows lie while they are used."""
        folder = self.cache or os.environ.get("TOKENDROP_CACHE") or "~/.cache/tokendrop"
        return Path(folder).expanduser()
