"""The Lightning data module of text classification."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Literal

from lightning import LightningDataModule
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from tokendrop.backbones import load_tokenizer
from tokendrop.data.batching import Batches, Split, consecutive, shuffled_by_length
from tokendrop.data.rows import class_names, limit, make_splits, read_rows
from tokendrop.data.sources import DEMO, Table, read_demo, read_file, read_hub
from tokendrop.data.tokens import Tokeniser
from tokendrop.errors import UserError
from tokendrop.packed import Batch
from tokendrop.tasks import (
    Kind,
    MetricName,
    QuestionAnswering,
    Regression,
    SequenceClassification,
    Task,
    TokenClassification,
)

log = logging.getLogger(__name__)

SPLITS = ("train", "dev", "test")


class TextData(LightningDataModule):
    """Texts or pairs of texts with one class each, as packed batches.

    Rows are read, split, tokenised and remembered on first use; :meth:`setup` does it at once.

    Attributes:
        reshuffle: whether training batches come in a new order each epoch; a recipe decides.
    """

    def __init__(
        self,
        dataset: str | None = None,
        train: str | None = None,
        dev: str | None = None,
        test: str | None = None,
        text: str | list[str] = "text",
        label: str = "label",
        task: Kind = "classification",
        class_weights: Literal["balanced"] | list[float] | None = None,
        tokenizer: str = "minilm-l6",
        max_length: int = 128,
        batch_size: int = 32,
        token_budget: int | None = None,
        train_rows: int | None = None,
        dev_rows: int | None = None,
        test_rows: int | None = None,
        dev_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        seed: int = 0,
        cache: str | None = None,
    ) -> None:
        """
        Args:
            dataset: "rotten_tomatoes" or "imdb" for the installed demo data; any other name is
                a dataset of the Hugging Face hub, as "name" or "name:config", for instance
                "nyu-mll/glue:sst2". Where its test labels are withheld, its validation split is
                what is reported and a dev split is cut from its training rows.
            train: local file to train on instead of a dataset: .csv, .tsv (not quoted, as
                GLUE's), .json, .jsonl or .parquet, with named columns.
            dev: local file by which the best checkpoint is chosen; cut from train if not given.
            test: local file whose scores are reported; cut from train if not given.
            text: column of the text, or a list of two columns for pairs.
            label: column of the class; integers and names both do.
            task: what is learned: a class, a number, a tag for each word, or where the answer
                to a question lies.
            class_weights: how much a row of each class counts in the loss: a number by class,
                or "balanced" for the same total of each class.
            tokenizer: backbone whose tokenizer is used: "minilm-l6", a model folder or a Hub
                model.
            max_length: tokens of a row at most, special tokens included. Longer rows lose their
                end, which is counted and said once.
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
            cache: folder that remembers tokenised rows; the environment variable
                TOKENDROP_CACHE, else ~/.cache/tokendrop, if not given.

        Raises:
            UserError: an option out of its range, or no rows to train on named.
        """
        super().__init__()
        files = {name: path for name, path in zip(SPLITS, (train, dev, test), strict=True) if path}
        if dataset is not None and files:
            raise UserError(
                f"dataset {dataset!r} and the file {next(iter(files.values()))} are both given: "
                "use either --data.dataset or --data.train, --data.dev and --data.test"
            )
        if dataset is None and train is None:
            raise UserError(
                "no data to train on: name a dataset with --data.dataset (rotten_tomatoes and "
                "imdb need no hub) or a file with --data.train"
            )
        columns = [text] if isinstance(text, str) else text
        if len(columns) not in (1, 2):
            raise UserError(f"text takes one or two columns, not {len(columns)}: {columns}")
        for option, least, value in (
            ("max_length", 1, max_length),
            ("batch_size", 1, batch_size),
            ("token_budget", max_length, token_budget),
            ("train_rows", 1, train_rows),
            ("dev_rows", 1, dev_rows),
            ("test_rows", 1, test_rows),
            ("seed", 0, seed),
        ):
            if value is not None and value < least:
                floor = "max_length, " * (option == "token_budget") + str(least)
                raise UserError(f"{option} {value} is too small: use {floor} or more")
        if not (
            0 < dev_fraction < 1 and 0 < test_fraction < 1 and dev_fraction + test_fraction < 1
        ):
            raise UserError(
                f"dev_fraction {dev_fraction} and test_fraction {test_fraction} must be above 0 "
                "and together below 1, to leave rows to train on"
            )
        self.dataset = dataset
        self.files = files
        self.text = columns
        self.label = label
        self.task = task
        self.class_weights = class_weights
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.batch_size = batch_size
        self.token_budget = token_budget
        self.row_limits = dict(zip(SPLITS, (train_rows, dev_rows, test_rows), strict=True))
        self.dev_fraction = dev_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed
        self.seed = seed
        self.reshuffle = True
        self.cache = cache
        self._ready_tokenizer: PreTrainedTokenizerBase | None = None
        self._labels: list[str] = []
        self._splits: dict[str, Split] = {}
        self._fingerprint = ""

    def use_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Tokenise with this fast tokenizer instead of one loaded by name."""
        self._ready_tokenizer = tokenizer
        self._splits = {}

    def setup(self, stage: str | None = None) -> None:
        """Read, split and tokenise all rows; a second call does nothing.

        Raises:
            UserError: rows, labels or files that cannot be used, each named with its cure.
        """
        if self._splits:
            return
        tables = self._tables()
        given = {name: read_rows(table, self.text, self.label) for name, table in tables.items()}
        whole = make_splits(given, self.dev_fraction, self.test_fraction, self.split_seed)
        # before rows are limited, so that a small run has the classes of the full one
        labels = class_names(whole, tables["train"].names)
        number = {name: index for index, name in enumerate(labels)}
        tokeniser = self._tokeniser()
        splits: dict[str, Split] = {}
        for name, every in whole.items():
            rows = limit(every, self.row_limits[name], self.split_seed)
            tokens = tokeniser(rows.texts, name)
            splits[name] = Split(
                rows.texts,
                tokens.input_ids,
                tokens.token_type_ids,
                [number[label] for label in rows.labels],
                tokens.truncated,
            )
        self._warn_truncated(splits)
        content = {name: [split.texts, split.labels] for name, split in splits.items()}
        used = [content, labels, tokeniser.identity, self.batch_size, self.token_budget]
        self._fingerprint = hashlib.sha256(json.dumps(used, sort_keys=True).encode()).hexdigest()
        self._labels, self._splits = labels, splits

    def _tables(self) -> dict[str, Table]:
        if self.dataset is None:
            return {name: read_file(path) for name, path in self.files.items()}
        if self.dataset in DEMO:
            return {"train": read_demo(self.dataset)}
        return read_hub(self.dataset, self.label)

    def _tokeniser(self) -> Tokeniser:
        tokenizer = self._ready_tokenizer
        if tokenizer is None:
            tokenizer = load_tokenizer(self.tokenizer)
        folder = self.cache or os.environ.get("TOKENDROP_CACHE") or "~/.cache/tokendrop"
        return Tokeniser(tokenizer, self.max_length, Path(folder).expanduser() / "tokens")

    def _warn_truncated(self, splits: dict[str, Split]) -> None:
        if any(split.truncated for split in splits.values()):
            counts = [f"{split.truncated} of {len(split)} {n}" for n, split in splits.items()]
            log.warning(
                "rows longer than max_length %d were truncated: %s",
                *(self.max_length, ", ".join(counts)),
            )

    @property
    def labels(self) -> list[str]:
        """The class names; the index of a name is its class in ``Split.labels``."""
        self.setup()
        return self._labels

    @property
    def splits(self) -> dict[str, Split]:
        """The examples of "train", "dev" and "test"."""
        self.setup()
        return self._splits

    @property
    def longest(self) -> int:
        """Tokens that no row exceeds: the width to which papers pad."""
        return self.max_length

    def make_task(self, metric: MetricName) -> Task:
        """The task that these data pose, compared in a metric.

        Raises:
            UserError: a metric that does not fit the kind of the task.
        """
        if self.task == "regression":
            return Regression(metric)
        if self.task == "token_classification":
            return TokenClassification(self.labels, metric)
        if self.task == "question_answering":
            windows = self.splits["train"].windows or []
            return QuestionAnswering(metric, any(not w.question.answers for w in windows))
        return SequenceClassification(self.labels, metric, self._class_weights())

    def _class_weights(self) -> list[float] | None:
        if self.class_weights != "balanced":
            return self.class_weights
        counts = Counter(self.splits["train"].labels)
        rows, classes = counts.total(), len(self.labels)
        # a class that a small run never drew counts as drawn once
        return [rows / (classes * max(1, counts[index])) for index in range(classes)]

    def fingerprint(self) -> str:
        """A hash of all that a model trained on these data depends on, but for the seed.

        Texts and labels of every split, class names, tokenizer, max_length and the size of
        batches; not the place where the rows were found.
        """
        self.setup()
        return self._fingerprint

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of similar length in a new order each epoch.

        The trainer must ask again every epoch: ``reload_dataloaders_every_n_epochs=1``.
        """
        split = self.splits["train"]
        epoch = self.trainer.current_epoch if self.trainer and self.reshuffle else 0
        return _loader(
            split,
            shuffled_by_length(split.lengths, self.batch_size, self.token_budget, self.seed, epoch),
        )

    def train_rows_in_order(self) -> DataLoader[Batch]:
        """The train split in its own order, for what is worked out once per example."""
        return self._in_order("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        """The dev split in its own order."""
        return self._in_order("dev")

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test split in its own order."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test split in its own order."""
        return self._in_order("test")

    def _in_order(self, name: str) -> DataLoader[Batch]:
        split = self.splits[name]
        return _loader(split, consecutive(len(split), self.batch_size))


def _loader(split: Split, cut: list[list[int]]) -> DataLoader[Batch]:
    return DataLoader(Batches(split, cut), batch_size=None)
