"""What the commands share that work on a trained model: its settings, and figures for its card."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning import Trainer

from tokendrop.cli.lightning_cli import TokenDropCLI, parse
from tokendrop.cli.options import Parser, add_model_options, split_off
from tokendrop.cli.training_settings import TRAINING_CONFIG, training_defaults
from tokendrop.data import TextData
from tokendrop.data.json_parts import json_hash
from tokendrop.data.settings import SPLITS
from tokendrop.errors import UserError
from tokendrop.measure.measures import FLOPS_UNPADDED, KEPT_TOKENS, LAYERS
from tokendrop.measure.provenance import provenance
from tokendrop.models.backbones import shape_of
from tokendrop.models.cards import SIDE_CAR, Figures
from tokendrop.models.hub import model_folder
from tokendrop.models.model import TokenDropModel, load
from tokendrop.training.trainer_options import (
    EVALUATION,
    check_alone,
    limit_of,
    refuse,
    refuse_idle,
)

log = logging.getLogger(__name__)

# settings of the data by which no answer changes, and what a model's folder brings
OF_TRAINING = {"train_rows", "class_weights", "batch_size", "token_budget", "seed", "cache"}
OF_TRAINING |= {"tokenizer"}
# settings of the data a model was trained on that say nothing of other rows
OF_OTHER_ROWS = (
    *("dataset", "dir", "files", "dev", "test", "dev_rows", "test_rows"),
    *("class_weights", "rationale"),
)
# options of 'fit' that a command on a trained model would pass over
_OF_FIT = ("--out", "--loggers")
_PASSED_OVER = ("fine_tune", "random_init", "compile", "patience", "backbone", "reducer")
PLACES = ("dataset", "dir", "files", *SPLITS)  # settings that say where rows lie
# what follows for a model's card, which tells the figures of test alone
_NOT_TOLD = {"dev": "", "test": ", so the model's card does not tell them"}
ROWS = "rows"  # in the provenance of figures, by what the rows are known that they were measured on


@dataclass(frozen=True)
class Trained:
    """A trained model that a command works on.

    Attributes:
        cli: the settings of the model's training under those of the command line.
        model: the model.
        folder: where it lies.
        changed: the settings of the data by which other rows are read than the model's own; none of
            a model that does not say what it was trained on.
    """

    cli: TokenDropCLI
    model: TokenDropModel
    folder: Path
    changed: Sequence[str]


def evaluation_parser(command: Literal["validate", "test"], description: str) -> Parser:
    """The options of a command that evaluates a trained model, beside those of ``fit``."""
    parser = Parser(
        command,
        usage=f"tokendrop {command} --checkpoint FOLDER [options]",
        description=f"{description} The other options, for data and trainer, are those of "
        "'tokendrop fit'; the settings of the model's training are their defaults. With "
        f"--data.{'dev' if command == 'validate' else 'test'} FILE no other data are read.",
    )
    add_model_options(parser)
    return parser


def parse_trained(
    options: argparse.Namespace,
    words: Sequence[str],
    split: Literal["dev", "test"] | None,
) -> Trained:
    """Read the options of a command that works on a trained model.

    The settings of its training are the defaults, so ``--checkpoint`` alone is enough.

    Args:
        options: those of :func:`tokendrop.cli.options.add_model_options`.
        words: options of ``fit``.
        split: which one the trainer evaluates, None if no trainer is used.

    Raises:
        UserError: no model, data that are not known, or an option that cannot be used.
    """
    _refuse_passed_over(words)
    folder = model_folder(options.checkpoint)
    model = load(folder, trust_reducer=options.trust_reducer)
    defaults = training_defaults(folder)
    changed: list[str] = []

    def check(cli: TokenDropCLI) -> None:
        data, now = cli.config.data.as_dict(), cli.config.trainer.as_dict()
        if not defaults and data["dataset"] is data["train"] is data["dir"] is None:
            raise UserError(
                f"{folder} does not say which data it was trained on (no "
                f"{SIDE_CAR}/{TRAINING_CONFIG}): name them, e.g. --data.dataset rotten_tomatoes"
            )
        before = cli.parser.parse_args(defaults)
        refuse_idle(_differing(before.trainer.as_dict(), now), split)
        refuse(now, EVALUATION)
        if defaults:
            other = _differing(before.data.as_dict(), data)
            changed.extend(name for name in other if name not in OF_TRAINING)

    alone = [] if split is None else _alone(words, split)
    elsewhere = [] if alone else _elsewhere(words)
    cli = parse([*defaults, *alone, *elsewhere, *words, "--model.backbone", str(folder)], check)
    check_alone(cli.trainer)
    data = cli.datamodule
    # what the model has positions for
    shape_of(model.backbone.config, data.settings.max_length)
    if not set(PLACES) & set(changed):
        _check_there(data, folder, split)
    if split is not None and alone:
        data.evaluate_alone(split, model.labels)
    data.follow(model.labels, model.shape.task, str(folder))
    cli.model.begin(model, data.make_task(cli.model.metric), data.splits)
    return Trained(cli, model, folder, changed)


def _refuse_passed_over(words: Sequence[str]) -> None:
    """Raise for an option that was given and could change nothing; files may be those of ``fit``.

    Raises:
        UserError: the first such option.
    """
    for word in words:
        name = word.partition("=")[0]
        if name in _OF_FIT:
            raise UserError(f"{name} has no part in this command: leave it out")
        group, _, option = name.partition(".")
        if group == "--model" and option.partition(".")[0] in _PASSED_OVER:
            argument = name.rpartition(".")[2]
            point = f"; tokendrop.load(FOLDER, {argument}=...).save_pretrained(OTHER) changes it"
            raise UserError(
                f"{name} has no part in this command, which takes the model as its folder has it: "
                "leave it out" + point * ("--model.reducer." in name)
            )


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings that have another value now."""
    return [name for name, value in now.items() if value != before[name]]


def _elsewhere(words: Sequence[str]) -> list[str]:
    """Options that leave out the files of a model's training, where words name a dataset."""
    if _given("dataset", words) in (None, "", "null"):
        return []
    return _left_out(PLACES, words)


def _check_there(data: TextData, folder: Path, split: str | None) -> None:
    """
    Raises:
        UserError: a file of the model's training is missing.
    """
    for path in data.settings.source.paths.values():
        if not Path(path).expanduser().is_file():
            others = "" if split is None else f", or other rows with --data.{split} FILE"
            raise UserError(
                f"no such file: {path}, which {folder} was trained with: name the folder where it "
                f"lies with --data.dir{others}"
            )


def _alone(words: Sequence[str], split: Literal["dev", "test"]) -> list[str]:
    """Options that leave out the data of a model's training, where words name the rows to evaluate.

    Nothing else of them is read, and it may be elsewhere: with whom the model comes from.
    """
    file = _given(split, words)
    if file in (None, "", "null") or _given("train", words) is not None:
        return []
    return [*_left_out(OF_OTHER_ROWS, words), f"--data.train={file}"]


def _left_out(names: Sequence[str], words: Sequence[str]) -> list[str]:
    """Options that set those settings of the data to null which words do not name."""
    return [f"--data.{name}=null" for name in names if _given(name, words) is None]


def _given(name: str, words: Sequence[str]) -> str | None:
    return split_off(f"--data.{name}", words)[0]


def is_partial(trainer: Trainer, split: Literal["dev", "test"]) -> bool:
    """Whether a trainer's options keep it from evaluating a whole split, which is said."""
    names = {"dev": ["overfit_batches", "limit_val_batches"], "test": ["limit_test_batches"]}
    if limit := limit_of(trainer, *names[split]):
        log.warning(
            "with %s the figures are of a part of the %s split%s", limit, split, _NOT_TOLD[split]
        )
    return bool(limit)


def is_other_data(trained: Trained, split: Literal["dev", "test"]) -> bool:
    """Whether other rows are read than the model's own, which is said.

    A relative path may lead to another file of that name, whose rows are none that were measured.
    """
    cli, figures = trained.cli, trained.model.figures
    if trained.changed:
        name = split if split in trained.changed else trained.changed[0]
        what = f"with --data.{name} the figures are of other data than the model's own"
    elif figures and figures.provenance.get(ROWS, now := _rows(cli, figures.split)) != now:
        place = ", ".join(cli.datamodule.settings.source.paths.values()) or "the dataset"
        before = f"those that {trained.folder} was measured on before"
        what = f"the rows of {place} are others than {before}"
    else:
        return False
    log.warning("%s%s", what, _NOT_TOLD[split])
    return True


def _rows(cli: TokenDropCLI, split: str) -> str:
    """A hash of the texts and labels of a split."""
    data = cli.datamodule
    return json_hash(data.settings.kind.content(data.splits[split]), 2)


def figures_of(
    cli: TokenDropCLI, split: Literal["dev", "test"], logged: Mapping[str, float], backbone: str
) -> Figures:
    """What an evaluation logged, for the model's card."""
    found = {k.removeprefix(f"{split}/"): v for k, v in logged.items() if k.startswith(split)}
    data = cli.datamodule
    return Figures(
        task=data.settings.dataset or "local data",
        backbone=backbone,
        split=split,
        examples=len(data.splits[split]),
        seed=int(cli.config.seed_everything),
        kept_tokens=found.pop(KEPT_TOKENS.logged),
        layers=found.pop(LAYERS.logged),
        speedups={FLOPS_UNPADDED.name: found.pop(FLOPS_UNPADDED.logged)},
        metrics={name: value for name, value in found.items() if name not in ("loss", "score")},
        provenance=provenance() | {ROWS: _rows(cli, split)},
    )
