"""What callers of Hugging Face's classes say, in the words of :func:`tokendrop.load`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig

from tokendrop.errors import UserError
from tokendrop.models.placing import DTYPES
from tokendrop.models.side_car import SideCar

# what Auto classes pass to every model, beside the caller's own options
OF_AUTO_CLASSES = {"config", "trust_remote_code", "adapter_kwargs", "_from_auto", "_commit_hash"}
# where and how a model of the Hub is found; Auto classes look the revision up themselves
OF_HUB = ("cache_dir", "force_download", "local_files_only", "revision", "token")
# what is so of every model: no pickled weights are read here, and the last is transformers 5's way
ALWAYS = {"use_safetensors": True, "weights_only": True, "low_cpu_mem_usage": True}
# what the configuration of a model folder's own side-car holds
OF_FOLDER = {field.name for field in fields(SideCar)} | {"model_type", "transformers_version"}
OF_FOLDER |= {"dtype"}  # which is given to the model, too
OF_CLASSES = {"id2label", "label2id"}  # what num_labels changes


def hub_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those by which a model of the Hub is found."""
    return {name: given[name] for name in OF_HUB if given.get(name) is not None}


def load_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`tokendrop.load` is to be given: its own options and the operating point."""
    others = {*OF_AUTO_CLASSES, *OF_HUB}
    found = {k: v for k, v in given.items() if v is not None and k not in others}
    for option, always in ALWAYS.items():
        if found.get(option) is always:
            del found[option]
    if "torch_dtype" in found:  # as it was called before transformers 5
        found.setdefault("dtype", found.pop("torch_dtype"))
    if found.get("dtype") == "auto":
        del found["dtype"]
    if "dtype" in found:
        names: dict[str, str] = {str(dtype): name for name, dtype in DTYPES.items()}
        names |= {dtype.removeprefix("torch."): name for dtype, name in names.items()}
        found["dtype"] = names.get(str(found["dtype"]), str(found["dtype"]))
    if "device_map" in found:
        found.setdefault("device", str(found.pop("device_map")))
    return found


def check_config(config: object, own: Mapping[int, str]) -> None:
    """Refuse what an Auto class was told of the configuration and would do nothing here.

    Args:
        config: as the Auto class made it.
        own: the model's classes by their ids.

    Raises:
        UserError: such an option, or other classes than the model's.
    """
    if not isinstance(config, PreTrainedConfig):
        return
    changed = set(config.to_diff_dict()) - OF_FOLDER
    if changed & OF_CLASSES:
        asked = config.id2label or {}
        if asked not in (own, {i: f"LABEL_{i}" for i in own}):
            raise UserError(
                "id2label would do nothing, nor would num_labels, which makes one of "
                f"{len(asked)} classes: the model has its own {len(own)} "
                f"({', '.join(own.values())}); leave it out"
            )
    refuse(changed - OF_CLASSES)


def refuse(names: Iterable[str]) -> None:
    """
    Raises:
        UserError: there are some, which would do nothing.
    """
    for name in sorted(names):
        raise UserError(f"{name} would do nothing in a model that drops tokens: leave it out")
