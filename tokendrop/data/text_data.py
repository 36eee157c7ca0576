"""The Lightning data module of all kinds of task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from tokendrop.data.batching import ALONE, Batches, Place, consecutive, shuffled_by_length
from tokendrop.data.names import mapped
from tokendrop.data.prepared import Prepared, check_kind, warn_truncated
from tokendrop.data.rationales import check_marked, with_rationales
from tokendrop.data.settings import SPLITS, DataSettings
from tokendrop.data.split import Split
from tokendrop.data.splitting import limit, make_splits, one_for_all
from tokendrop.data.tokens import Tokeniser
from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError, unknown
from tokendrop.models.backbones import load_tokenizer
from tokendrop.tasks import Answering, Task
from tokendrop.tasks.given import rows_of, split_of


class PackedData(LightningDataModule):
    """Packed batches, whose way to a GPU is not waited for."""

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        return batch.to(device, non_blocking=True)

    @property
    def place(self) -> Place:
        """Which of the processes of the trainer this is."""
        return Place(self.trainer.global_rank, self.trainer.world_size) if self.trainer else ALONE


class TextData(PackedData):
    """Texts with classes, numbers, tags or answers, as packed batches.

    Rows are read, split, tokenised and remembered on first use; :meth:`setup` does it at once.

    Attributes:
        settings: where the rows come from, and what is done with them.
    """

    def __init__(self, dataset: str | None = None, **settings: Any) -> None:
        """
        Args:
            dataset: "rotten_tomatoes" or "imdb" for the installed demo data; any other name is
                a dataset of the Hugging Face hub, as "name" or "name:config", for instance
                "nyu-mll/glue:sst2". Where its test labels are withheld, its validation split is
                what is reported and a dev split is cut from its training rows.
                "name:config:split" reports this split instead.
            settings: the others of :class:`tokendrop.data.settings.DataSettings`, by name.

        Raises:
            UserError: a setting that there is not, one out of its range, or no rows to train on
                named.
        """
        super().__init__()
        known = [one.name for one in fields(DataSettings)]
        for name in settings.keys() - known:
            raise unknown("setting of TextData", name, known)
        self.settings = DataSettings(dataset=dataset, **settings)
        self._ready_tokenizer: PreTrainedTokenizerBase | None = None
        self._alone: tuple[str, list[str]] | None = None
        self._prepared: Prepared | None = None

    @property
    def task(self) -> str:
        """The name of the kind of task."""
        return self.settings.task

    def use_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Tokenise with this fast tokenizer instead of one loaded by name."""
        self._ready_tokenizer = tokenizer
        self._prepared = None

    def check_backbone(self, name: str) -> None:
        """Raise unless rows become the tokens that a backbone's own tokenizer makes of them.

        Raises:
            UserError: they do not, or the backbone has no tokenizer.
        """
        longest = self.settings.max_length
        if self._ready_tokenizer is None and self.settings.tokenizer == name:
            return
        if Tokeniser(load_tokenizer(name), longest).identity != self._tokeniser().identity:
            raise UserError(
                f"rows become other tokens than the backbone {name} knows, whose tokenizer its "
                f"model will have: give TextData tokenizer={name!r}"
            )

    def evaluate_alone(self, split: str, names: Sequence[str]) -> None:
        """Take the rows of one split for all of them, to evaluate a model that is trained.

        Args:
            split: "dev" or "test".
            names: the model's classes, of which the rows need not have all.
        """
        self._alone = (split, list(names))
        self._prepared = None

    def setup(self, stage: str | None = None) -> None:
        """Read, split and tokenise all rows; a second call does nothing.

        Raises:
            UserError: rows, labels or files that cannot be used, each named with its cure.
        """
        if self._prepared is None:
            self._prepared = self._prepare()

    def _prepare(self) -> Prepared:
        settings = self.settings
        kind, text, label = settings.kind, settings.text_columns, settings.label_column
        source = settings.source if self._alone is None else settings.source.only(self._alone[0])
        tables = source.tables(kind, text, label, settings.cache_folder / "tables")
        check_marked(tables.values(), settings.rationale)
        named, given = tables["train"].names, {}
        # a table is needed no longer once its rows are read
        for name in list(tables):
            table = tables.pop(name)
            rows = rows_of(kind, table, text, label)
            given[name] = with_rationales(rows, table, text, settings.rationale)
        del table, rows
        seed = settings.split_seed
        given = kind.alike(given)
        if self._alone is None:
            whole = make_splits(given, settings.dev_fraction, settings.test_fraction, seed)
        else:
            whole = one_for_all(given["train"], self._alone[1], settings.label_map or {})
        del given
        # before rows are limited, so that a small run has the classes of the full one
        # of rows that are only evaluated nothing is to be learned
        learned = self._alone is None or kind.named
        labels = kind.class_names(whole, named) if learned else []
        names = mapped(labels, settings.label_map or {}, whole["train"].place)
        labels = list(names.values())
        tokeniser = self._tokeniser()
        splits: dict[str, Split] = {}
        for name in list(whole) if self._alone is None else [self._alone[0]]:
            rows = limit(whole.pop(name), settings.row_limits[name], seed)
            if settings.label_map is not None:
                rows = kind.renamed(rows, names)
            splits[name] = split_of(kind, rows, tokeniser, labels, settings.doc_stride, name)
        warn_truncated(splits, settings.max_length)
        if self._alone is not None:
            splits = dict.fromkeys(SPLITS, splits[self._alone[0]])
        used = [settings.class_weights, tokeniser.identity, settings.doc_stride]
        used += [settings.batch_size, settings.token_budget]
        if tokeniser.untyped and len(text) > 1:
            used.append("no token types")
        return Prepared(splits, kind, labels, used, labels)

    @property
    def _ready(self) -> Prepared:
        self.setup()
        assert self._prepared is not None
        return self._prepared

    def follow(self, names: Sequence[str], kind: str, model: str) -> None:
        """Number the classes as a model does; class weights and F1 go by the data's own order.

        Args:
            names: the model's classes in the order of its logits.
            kind: what its head is for.
            model: how a message calls it.

        Raises:
            UserError: the model is for another kind of task, or for other classes.
        """
        # before any row is read as what it may not be
        check_kind(self.settings.kind, kind, model)
        self._prepared = self._ready.following(names, model)

    def _tokeniser(self) -> Tokeniser:
        tokenizer = self._ready_tokenizer
        if tokenizer is None:
            tokenizer = load_tokenizer(self.settings.tokenizer)
        folder = self.settings.cache_folder / "tokens"
        return Tokeniser(tokenizer, self.settings.max_length, folder)

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
        return self.settings.max_length

    @property
    def answering(self) -> Answering:
        """What a model trained on these data must know to answer as it was scored."""
        return self.settings.kind.answering(self.splits, self.settings.doc_stride)

    def make_task(self, metric: str) -> Task:
        """The task that these data pose, compared in a metric.

        Raises:
            UserError: a metric that does not fit the kind of the task.
        """
        return self._ready.task(metric, self.settings.class_weights)

    def fingerprint(self) -> str:
        """A hash of all that a model trained on these data depends on, but for the seed.

        Texts and labels of every split, class names, tokenizer, max_length and the size of
        batches; not the place where the rows were found.
        """
        return self._ready.fingerprint

    def train_batches(self, seed: int, epoch: int, place: Place = ALONE) -> DataLoader[Batch]:
        """A process' share of batches of rows of similar length, in the order of seed and epoch."""
        split, settings = self.splits["train"], self.settings
        sizes = settings.batch_size, settings.token_budget
        return _loader(split, shuffled_by_length(split.lengths, *sizes, seed, epoch, place))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of similar length in a new order each epoch.

        The trainer must ask again every epoch: ``reload_dataloaders_every_n_epochs=1``.
        """
        epoch = self.trainer.current_epoch if self.trainer else 0
        return self.train_batches(self.settings.seed, epoch, self.place)

    def train_rows_in_order(self) -> DataLoader[Batch]:
        """The train split in its own order, for what is worked out once per example."""
        return self.in_order("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        """The dev split in its own order."""
        return self.in_order("dev", self.place)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test split in its own order."""
        return self.in_order("test", self.place)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test split in its own order."""
        return self.in_order("test", self.place)

    def in_order(self, name: str, place: Place = ALONE) -> DataLoader[Batch]:
        """A process' share of a split in its own order.

        Raises:
            UserError: some process would have no row.
        """
        split = self.splits[name]
        if len(split) < place.processes:
            raise UserError(
                f"the {name} split has {len(split)} rows for {place.processes} processes: use "
                f"trainer.devices {len(split)} or fewer"
            )
        return _loader(split, consecutive(len(split), self.settings.batch_size, place))


class StageData(PackedData):
    """The batches that a stage is trained on and chosen by."""

    def __init__(self, data: TextData, seed: int, reshuffle: bool) -> None:
        """
        Args:
            data: the rows.
            seed: of the run, which decides the order of the training batches.
            reshuffle: whether they come in a new order each epoch, or in the first one always.
        """
        super().__init__()
        self.data = data
        self.seed = seed
        self.reshuffle = reshuffle

    def train_dataloader(self) -> DataLoader[Batch]:
        """The training batches of the trainer's epoch; it must ask again every epoch."""
        epoch = self.trainer.current_epoch if self.trainer and self.reshuffle else 0
        return self.data.train_batches(self.seed, epoch, self.place)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The dev split in its own order."""
        return self.data.in_order("dev", self.place)


def _loader(split: Split, cut: Sequence[Sequence[int]]) -> DataLoader[Batch]:
    # a copy from pinned memory does not hold up the host
    pinned = torch.cuda.is_available()
    return DataLoader(Batches(split, cut), batch_size=None, pin_memory=pinned)
