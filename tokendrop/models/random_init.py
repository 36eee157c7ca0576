"""A checkpoint's architecture without its weights, and what may be changed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig

from tokendrop.bounds import Count, check
from tokendrop.errors import UserError, one_line, unknown
from tokendrop.heads import CLASS
from tokendrop.models.checkpoints import attention_of, is_size, read_config


def changed_config(place: str, changes: Mapping[str, Any] | None) -> PretrainedConfig:
    """The configuration of a checkpoint, with changes of which a model can be made.

    Args:
        place: a folder or a Hub name.
        changes: to what it says; None or empty for none.

    Raises:
        UserError: as :func:`read_config`, or the architecture has no such setting, or no model of
            these values.
    """
    config = read_config(place)
    if not changes:
        return config
    names = _settings(config)
    for name in changes:
        if name not in names:
            raise unknown("setting of random_init", name, names)
    check(changes, {name: Count for name in names if is_size(config, name)}, "random_init.")
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, **changes)
        with torch.device("meta"):  # without memory for its weights
            CLASS.auto.from_config(config, **attention_of(config))
    except UserError:
        raise
    # which error a value sets off is up to the module that reads it
    except Exception as error:
        said = one_line(error) or type(error).__name__
        raise UserError(
            f"random_init {dict(changes)} gives no {config.model_type} model: {said}; correct "
            "these values, or leave them out"
        ) from error
    return config


def _settings(config: PretrainedConfig) -> set[str]:
    """What the architecture is told by, by its own names and those that all have in common.

    What every configuration has, such as the names of classes, the task and its head decide.
    """
    own = {field.name for field in fields(type(config))}
    common = {field.name for field in fields(PretrainedConfig)}
    return (own - common) | set(config.attribute_map)
