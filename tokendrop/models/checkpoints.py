"""Hugging Face checkpoints, a stranger's too: read whole, or refused by what is wrong with them.

What lies in one is data: no code of a checkpoint is run, no pickled object is made, and the
attention of a configuration, which could name a kernel to download, is replaced by torch's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.utils import logging as transformers_logging

from tokendrop.data.names import listed, names_by_id, not_one_word, repeated
from tokendrop.errors import UserError, one_line, tokenizer_panics
from tokendrop.families import FAMILIES, not_supported, supported
from tokendrop.models.folders import check_folder, check_weights, refuse_pointers, why_lost
from tokendrop.sums import LIST, changed_of
from tokendrop.tasks import Task

_LAYER = re.compile(r"(^|\.)(layers?|albert_layer_groups)\.\d+\.")


def attention_of(config: PretrainedConfig) -> dict[str, str]:
    """What a model is made with, so that its attention is torch's whatever its files name."""
    return {"attn_implementation": supported(config).padded_attention}


def read_config(place: str) -> PretrainedConfig:
    """The configuration of a checkpoint, of an architecture that is supported.

    Args:
        place: a folder or a Hub name.

    Raises:
        UserError: there is none, it is torn, or it describes something that cannot be run.
    """
    check_folder(Path(place))
    with _named(place, "model"):
        described, _ = PretrainedConfig.get_config_dict(place)
        kind = described.get("model_type")
        if isinstance(kind, str) and kind not in FAMILIES:
            # said before transformers asks for a newer one, or to trust code that lies there
            raise UserError(f"{place} cannot be run: {not_supported(kind)}")
        names = described.get("id2label") or {}
        if not isinstance(names, dict) or not all(str(key).isdecimal() for key in names):
            raise UserError(
                f"the config.json of {place} has {names!r:.60} under id2label and not the names of "
                'classes by number, {"0": ..., "1": ...}: correct it'
            )
        config = AutoConfig.from_pretrained(place, trust_remote_code=False)
    supported(config)
    # what a pass gives, and in which form, is said where it is run
    config.return_dict = True
    config.output_attentions = config.output_hidden_states = False
    _check_sizes(config, place)
    named: object = config.architectures
    if not isinstance(named, list | None) or not all(isinstance(x, str) for x in named or ()):
        raise UserError(
            f"the config.json of {place} has {named!r:.60} under architectures and not a list of "
            "names: restore it"
        )
    if getattr(config, "quantization_config", None):
        raise UserError(
            f"the weights of {place} are quantised (quantization_config in its config.json), and "
            "only full ones can be run: name the model that they were made from"
        )
    return config


def _check_sizes(config: PretrainedConfig, place: str) -> None:
    """Refuse what counts something and is below 1, which torch notices only where it runs."""
    usual = type(config)()
    for field in fields(config):
        value = getattr(config, field.name)
        if is_size(usual, field.name) and isinstance(value, int) and value < 1:
            raise UserError(
                f"the config.json of {place} has {field.name} {value}, of which there is 1 at "
                "least: restore it"
            )


def is_size(config: PretrainedConfig, name: str) -> bool:
    """Whether a setting counts something, of which there must be one at least."""
    value: Any = getattr(config, name, None)
    return type(value) is int and value > 0 and not name.endswith(("_id", "_index"))


def read_tokenizer(place: str) -> Tokenizer:
    """The tokenizer of a checkpoint.

    Raises:
        UserError: there is none, it is a slow one, or it has no vocabulary.
    """
    refuse_pointers(Path(place))
    with tokenizer_panics(), _named(place, "tokenizer"):
        try:
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        except Exception:
            check_folder(Path(place))  # where another folder is meant, that is the reason
            if Path(place).is_dir():
                read_config(place)  # which a tokenizer is looked for by
            raise
        words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    if not tokenizer.is_fast:
        raise UserError(
            f"the tokenizer of {place} is a {type(tokenizer).__name__}, which has no fast version, "
            "and a fast one is needed: convert it to a tokenizer.json, or name another model"
        )
    if not words:
        raise UserError(
            f"the tokenizer of {place} knows no words, only "
            f"{', '.join(tokenizer.all_special_tokens)}: tokenizer.json or the vocabulary is "
            "missing; restore it"
        )
    return tokenizer


def check_vocabulary(tokenizer: Tokenizer, config: PretrainedConfig) -> None:
    """
    Raises:
        UserError: the tokenizer gives ids that the encoder has no embeddings for.
    """
    largest, rows = max(tokenizer.get_vocab().values()), int(config.vocab_size)
    if largest >= rows:
        raise UserError(
            f"the tokenizer gives ids up to {largest} but the encoder has embeddings for {rows} "
            "only (vocab_size in its config.json): put the two that belong together into one folder"
        )


def read_model(
    auto: Any, place: str, config: PretrainedConfig, *, head: bool
) -> tuple[PreTrainedModel, list[str]]:
    """The weights of a checkpoint in fp32.

    Args:
        auto: class of the model, one of transformers' Auto classes.
        place: a folder or a Hub name.
        config: its configuration.
        head: whether the head has to be there.

    Returns:
        the model, and the names of the tensors of its head that are new and random.

    Raises:
        UserError: there are no weights, torn ones, those of something else, or others than the
            folder's checksums are of.
    """
    if changed := changed_of(Path(place)):
        raise UserError(
            f"{changed} is missing, torn, or not what was saved there ({LIST} beside it is of "
            f"something else): restore the file, or remove {LIST} if you changed it yourself"
        )
    with _quiet_loading(), _named(place, "model"):
        try:
            model, report = auto.from_pretrained(
                place,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                weights_only=True,
                # our own words name the tensor
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **attention_of(config),
            )
        except Exception:
            check_weights(Path(place))
            raise
    missing, unknown = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise UserError(
            f"the weights in {place} do not fit its config.json: {name} is {_size(found)} and "
            f"should be {_size(wanted)}; restore the one of them that was changed"
        )
    prefix = "" if model is model.base_model else f"{model.base_model_prefix}."
    lost = [name for name in missing if _of_encoder(name, prefix)]
    if lost:
        places = {*missing, *(name.removeprefix(prefix) for name in missing)}
        raise UserError(f"the weights in {place} lack {why_lost(lost, unknown, places)}")
    if more := [name for name in unknown if _LAYER.search(name)]:
        raise UserError(
            f"the weights in {place} hold {len(more)} tensors of layers that its config.json does "
            f"not have, e.g. {more[0]}: restore the number of layers there"
        )
    if missing and head:
        others = f", and hold others, e.g. {unknown[0]}" if unknown else ""
        cure = "rename them to its names, or train one" if unknown else "train one"
        raise UserError(
            f"the weights in {place} lack {len(missing)} tensors of the head, e.g. {missing[0]}"
            f"{others}: it is not a trained {type(model).__name__}; {cure} with 'tokendrop fit'"
        )
    return model, missing


def _of_encoder(name: str, prefix: str) -> bool:
    """Whether a tensor is of the encoder itself, which has no meaning where it is random."""
    return name.startswith(prefix) and not name.removeprefix(prefix).startswith("pooler.")


def _size(size: Any) -> str:
    return " x ".join(map(str, size)) or "one number"


@contextmanager
def _named(place: str, what: str) -> Iterator[None]:
    """Errors of other libraries as one line that names the checkpoint."""
    try:
        yield
    except UserError:
        raise
    # a torn file sets off whatever comes first in transformers, tokenizers, safetensors or pickle
    except Exception as error:
        if Path(place).is_dir():
            said = one_line(error) or type(error).__name__
            raise UserError(f"cannot load a {what} from the folder {place}: {said}") from error
        raise UserError(
            f"no {what} {place!r}: it is no local folder, and the Hugging Face hub does not have "
            "it or cannot be reached; name a folder, a Hub model, or the installed 'minilm-l6'"
        ) from error


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep transformers from printing which tensors a checkpoint lacks: we say it ourselves."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def check_head(config: Any, kind: type[Task], place: str) -> None:
    """Refuse a head whose answers cannot be read as those of a task.

    Args:
        config: the model's.
        kind: what its head is for.
        place: how the message calls the model.

    Raises:
        UserError: several labels or numbers at once, a number in place of classes, ids that do not
            number the logits, a class without a name, two of one name, or a tag that is no word.
    """
    named = config.id2label or {}
    problem = None if kind.head.reads_tokens else config.problem_type
    if problem == "multi_label_classification":
        raise UserError(
            f"{place} is a multi-label model (problem_type multi_label_classification in its "
            "config.json), which may give a text several classes: name a model that gives each "
            "text one class, or begin with a pretrained encoder"
        )
    if problem == "regression" and len(named) > 1:
        raise UserError(
            f"{place} gives {len(named)} numbers for each text (problem_type regression in its "
            "config.json), and only one can be read: name a model with one output, or begin with a "
            "pretrained encoder"
        )
    if kind.head.output == "class" and len(named) == 1:
        raise UserError(
            f"{place} has a head for one number, as regression has, not for classes: use "
            "--data.task regression, or name a classifier or a pretrained encoder"
        )
    if not kind.named:
        return
    ids = sorted(int(key) for key in named)
    if ids != list(range(len(ids))):
        raise UserError(
            f"id2label in the config.json of {place} has the ids {listed(map(str, ids))}, but its "
            f"{len(ids)} classes must be numbered from 0 to {len(ids) - 1}: correct it"
        )
    if blank := [key for key, name in named.items() if not str(name or "").strip()]:
        raise UserError(
            f"id2label in the config.json of {place} has no name for the class {blank[0]}: give it "
            "one"
        )
    if twice := repeated(names_by_id(config)):
        places = " and ".join(str(key) for key, name in named.items() if str(name) == twice)
        raise UserError(
            f"id2label in the config.json of {place} gives the name {twice!r} to the classes "
            f"{places}: give each class a name of its own"
        )
    if kind.head.output == "tag" and (odd := not_one_word(names_by_id(config))) is not None:
        raise UserError(
            f"id2label in the config.json of {place} has the tag {odd!r:.60}, but answers have "
            "blanks between the tags: give it a name without white space there"
        )
