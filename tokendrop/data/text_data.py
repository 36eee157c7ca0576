"""The Lightning data module of all kinds of task."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lightning import LightningDataModule
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from tokendrop.data.batching import Batches, Split, consecutive, shuffled_by_length
from tokendrop.data.kinds import COLUMNS, names_of, tokenised
from tokendrop.data.local import Files, Source
from tokendrop.data.prepared import Prepared, warn_truncated
from tokendrop.data.rationales import with_rationales
from tokendrop.data.splitting import limit, make_splits
from tokendrop.data.tokens import Tokeniser
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.models.backbones import load_tokenizer
from tokendrop.tasks import Kind, MetricName, Task

SPLITS = ("train", "dev", "test")


class TextData(LightningDataModule):
    """Texts with classes, numbers, tags or answers, as packed batches.

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
        dir: str | None = None,
        files: Files | None = None,
        text: str | list[str] | None = None,
        label: str | None = None,
        rationale: str | None = None,
        task: Kind = "classification",
        class_weights: Literal["balanced"] | list[float] | None = None,
        tokenizer: str = "minilm-l6",
        max_length: int = 128,
        doc_stride: int = 128,
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
                "name:config:split" reports this split instead.
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
            rationale: column of human rationales of classes, read where a file has it: a list
                with 0 or 1 for each word of the (last) text, or one such list of each annotator;
                "rationale" in ERASER's form, whose documents are the column "document".
            task: what is learned: a class, a number, a tag for each word, or where the answer
                to a question lies.
            class_weights: how much a row of each class counts in the loss: a number by class,
                or "balanced" for the same total of each class.
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
            cache: folder that remembers tokenised rows; the environment variable
                TOKENDROP_CACHE, else ~/.cache/tokendrop, if not given.

        Raises:
            UserError: an option out of its range, or no rows to train on named.
        """
        super().__init__()
        named = {name: path for name, path in zip(SPLITS, (train, dev, test), strict=True) if path}
        self.source = Source.of(dataset, named, dir, files)
        published = self.source.published
        usual = COLUMNS[task]
        if published is not None:
            text, label = published.text or text, published.label or label
        columns = list(usual.text) if text is None else [text] if isinstance(text, str) else text
        if len(columns) not in usual.counts:
            counts = " or ".join(("no", "one", "two")[count] for count in usual.counts)
            plural = "s" * (usual.counts != (1,))
            raise UserError(f"text takes {counts} column{plural}, not {len(columns)}: {columns}")
        if class_weights is not None and task != "classification":
            raise UserError(f"class_weights are for classification: leave them out for {task}")
        if rationale is not None and task != "classification":
            raise UserError(f"rationale is for classification: leave it out for {task}")
        for option, least, value in (
            ("max_length", 1, max_length),
            ("doc_stride", 0, doc_stride),
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
        self.text = columns
        self.label = usual.label if label is None else label
        self.rationale = rationale
        self.task = task
        self.class_weights = class_weights
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.doc_stride = doc_stride
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
        self._prepared: Prepared | None = None

    def use_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Tokenise with this fast tokenizer instead of one loaded by name."""
        self._ready_tokenizer = tokenizer
        self._prepared = None

    def setup(self, stage: str | None = None) -> None:
        """Read, split and tokenise all rows; a second call does nothing.

        Raises:
            UserError: rows, labels or files that cannot be used, each named with its cure.
        """
        if self._prepared is None:
            self._prepared = self._prepare()

    def _prepare(self) -> Prepared:
        tables = self.source.tables(self.task, self.text, self.label)
        read = COLUMNS[self.task].read
        given = {
            name: with_rationales(
                read(table, self.text, self.label), table, self.text, self.rationale
            )
            for name, table in tables.items()
        }
        whole = make_splits(given, self.dev_fraction, self.test_fraction, self.split_seed)
        # before rows are limited, so that a small run has the classes of the full one
        labels = names_of(self.task, whole, tables["train"].names)
        tokeniser = self._tokeniser()
        splits: dict[str, Split] = {}
        for name, every in whole.items():
            rows = limit(every, self.row_limits[name], self.split_seed)
            splits[name] = tokenised(rows, tokeniser, labels, self.doc_stride, name)
        warn_truncated(splits, self.max_length)
        used = [self.class_weights, tokeniser.identity, self.doc_stride]
        used += [self.batch_size, self.token_budget]
        return Prepared(splits, self.task, labels, used, labels)

    @property
    def _ready(self) -> Prepared:
        self.setup()
        assert self._prepared is not None
        return self._prepared

    def follow(self, names: Sequence[str], kind: Kind, model: str) -> None:
        """Number the classes as a model does; class weights and F1 go by the data's own order.

        Args:
            names: the model's classes in the order of its logits.
            kind: what its head is for.
            model: how a message calls it.

        Raises:
            UserError: the model is for another kind of task, or for other classes.
        """
        self._prepared = self._ready.following(names, kind, model)

    def _tokeniser(self) -> Tokeniser:
        tokenizer = self._ready_tokenizer
        if tokenizer is None:
            tokenizer = load_tokenizer(self.tokenizer)
        folder = self.cache or os.environ.get("TOKENDROP_CACHE") or "~/.cache/tokendrop"
        return Tokeniser(tokenizer, self.max_length, Path(folder).expanduser() / "tokens")

    @property
    def labels(self) -> list[str]:
        """The class names; the index of a name is its class in ``Split.labels``."""
        return self._ready.labels

    @property
    def splits(self) -> dict[str, Split]:
        """The examples of "train", "dev" and "test"."""
        return self._ready.splits

    @property
    def longest(self) -> int:
        """Tokens that no row exceeds: the width to which papers pad."""
        return self.max_length

    def make_task(self, metric: MetricName) -> Task:
        """The task that these data pose, compared in a metric.

        Raises:
            UserError: a metric that does not fit the kind of the task.
        """
        return self._ready.task(metric, self.class_weights)

    def fingerprint(self) -> str:
        """A hash of all that a model trained on these data depends on, but for the seed.

        Texts and labels of every split, class names, tokenizer, max_length and the size of
        batches; not the place where the rows were found.
        """
        return self._ready.fingerprint

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
