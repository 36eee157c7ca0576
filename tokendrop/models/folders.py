"""Folders that people name as models and that hold something else, a part of one, or torn files."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from safetensors import safe_open

from tokendrop.data.encoding import refuse_pointer, start_of
from tokendrop.data.names import listed
from tokendrop.errors import UserError
from tokendrop.models.cards import SIDE_CAR

_ADAPTER = "adapter_config.json"
_CONFIG = "config.json"
_WRAPPERS = {"model", "module"}  # under which checkpoints of trainings have a model's tensors


def check_folder(folder: Path) -> None:
    """Refuse a folder without a whole model; what is no folder is passed over.

    Raises:
        UserError: it has no config.json, a pointer in place of a file, or an adapter; or it is the
            part of a model folder that describes a reducer.
    """
    refuse_pointers(folder)
    if not folder.is_dir():
        return
    if (folder / _ADAPTER).is_file():
        raise UserError(
            f"{folder} holds an adapter of PEFT ({_ADAPTER}), which would be left out: merge it "
            f"into its model with merge_and_unload(), save that, and name its folder; or remove "
            f"{_ADAPTER} if the weights are merged already"
        )
    if folder.name == SIDE_CAR and (folder.parent / _CONFIG).is_file():
        raise UserError(
            f"{folder} is the part of a model folder that says what is dropped: name the folder "
            f"around it, {folder.parent}"
        )
    if not (folder / _CONFIG).is_file():
        # the folder around it, an --out or that of a Trainer, is the commonest slip
        inside = [str(file.parent) for file in sorted(folder.glob(f"*/{_CONFIG}"))]
        cure = "name one, e.g. the OUT/model of a 'fit'"
        if any((folder / "runs").glob("*.json")):
            cure = f"take one of a comparison by 'tokendrop choose {folder} --max-loss 1 --out NEW'"
        if inside:
            cure = (
                f"its model is {inside[0]}" if len(inside) == 1 else f"name one of {listed(inside)}"
            )
        raise UserError(f"{folder} is not a model folder, it has no {_CONFIG}: {cure}")


def refuse_pointers(folder: Path) -> None:
    """
    Raises:
        UserError: a file of the folder is what Git has in place of a large one.
    """
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.is_file() and file.stat().st_size < 1024:
            refuse_pointer(start_of(file), file)


def check_weights(folder: Path) -> None:
    """Name the file that kept a folder's weights from being loaded, if it is found.

    Raises:
        UserError: a file of weights is torn, missing, or something else than tensors.
    """
    for file in sorted(folder.glob("*")):
        try:
            if file.name.endswith(".index.json"):
                named = set(json.loads(file.read_bytes())["weight_map"].values())
                if lost := sorted(name for name in named if not (folder / name).is_file()):
                    raise UserError(
                        f"{folder} has no {listed(lost)}, which {file.name} names: restore "
                        "what is missing"
                    )
            elif file.suffix == ".safetensors":
                safe_open(file, "pt")
            elif file.name.startswith("pytorch_model") and file.suffix == ".bin":
                torch.load(file, map_location="meta", weights_only=True)
        except UserError:
            raise
        # whatever comes first in safetensors, zip or pickle
        except Exception as error:
            raise UserError(
                f"cannot load a model from the folder {folder}: {file.name} is torn, or holds "
                "something else than a model's tensors: restore it"
            ) from error
    exported = sorted(file.name for file in folder.glob("*.onnx"))
    if exported and not [*folder.glob("*.safetensors"), *folder.glob("*.bin")]:
        raise UserError(
            f"{folder} is an exported model ({listed(exported)}), which has none of torch's "
            "weights: name the model folder that it was made from, or run it as its README.md says"
        )


def why_lost(lost: Sequence[str], unknown: Sequence[str], names: Collection[str]) -> str:
    """What to say of tensors that weights lack.

    Args:
        lost: names of those of the encoder.
        unknown: names that the weights have instead.
        names: all that they might have.
    """
    said = f"{len(lost)} tensors of the encoder, e.g. {lost[0]}"
    if not unknown:
        return f"{said}: restore the whole file"
    if wrapped := [name for name in unknown if "state_dict" in name or name in _WRAPPERS]:
        return (
            f"{said}, and hold {wrapped[0]!r}: they are a checkpoint of a training, with the "
            "model's tensors inside; save these alone, by the model's save_pretrained"
        )
    # the longest, since one may end with another
    known = max((name for name in names if unknown[0].endswith(f".{name}")), key=len, default="")
    before = unknown[0].removesuffix(known)
    if known and all(n.startswith(before) and n.removeprefix(before) in names for n in unknown):
        return (
            f"{said}; all their names begin with {before!r}, as when a model is saved from inside "
            "another, such as DataParallel or torch.compile: rename them, or save the inner model"
        )
    return f"{said}, and hold others, e.g. {unknown[0]}: they are of another architecture"
