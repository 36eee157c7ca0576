"""Loggers that the user names: Lightning's or anybody's, by their class."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.loggers import Logger

from tokendrop.errors import UserError, one_line

# "wandb_models" is "wandb" with the trained models as artefacts, which are large
LoggerName = Literal["csv", "wandb", "wandb_models"]
LoggerKind = LoggerName | dict[str, Any]
"""One of ours, or a class with its arguments: ``{class_path: ..., init_args: {...}}``."""


def made(spec: Mapping[str, Any], folder: Path, name: str) -> Logger:
    """A logger of a class that was named.

    It writes below ``folder`` and calls the run ``name``, unless its arguments say something else.

    Args:
        spec: ``class_path`` and ``init_args``.
        folder: for loggers with an argument ``save_dir``.
        name: for those with ``run_name`` or else ``name``.

    Raises:
        UserError: no such class, none of a logger, or arguments that it does not take.
    """
    path = spec.get("class_path")
    if not isinstance(path, str) or set(spec) - {"class_path", "init_args"}:
        raise UserError(
            f"loggers: {dict(spec)} is no logger: use csv, wandb, wandb_models, or "
            "{class_path: lightning.pytorch.loggers.TensorBoardLogger, init_args: {}}"
        )
    given, kind = dict(spec.get("init_args") or {}), _class(path)
    try:
        parameters = inspect.signature(kind).parameters
        called = "run_name" if "run_name" in parameters else "name"
        # one that counts its versions would begin another one when a training goes on
        usual = {"save_dir": str(folder), called: name, "version": ""}
        known = {k: v for k, v in usual.items() if k in parameters}
        return kind(**(known | given))
    except Exception as error:  # of somebody else's class
        raise UserError(f"loggers: {path} cannot be made ({one_line(error)})") from error


def _class(path: str) -> type[Logger]:
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"loggers: no class {path} ({one_line(error)})") from error
    if not (isinstance(kind, type) and issubclass(kind, Logger)):
        raise UserError(f"loggers: {path} is no logger of Lightning's kind")
    return kind
