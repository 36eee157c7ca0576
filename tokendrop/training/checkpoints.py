"""Checkpoints of a training that may be cut off, whole and with checksums, or not believed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import save
from torch import Tensor

from tokendrop import sums
from tokendrop.errors import UserError
from tokendrop.files import write_bytes
from tokendrop.reducers.own_code import changed_code

log = logging.getLogger(__name__)

_CODE = "tokendrop_code"  # in a checkpoint that training goes on from


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints, of which a kill or a full disk leaves the old or the new one.

    Args:
        best: the file of :class:`BestWeights`, from which nothing goes on: it holds weights alone.
        code: of the classes that are trained, see :func:`resumable`.
    """

    def __init__(self, best: Path, code: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._best = best.resolve()
        self._code = dict(code or {})

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        if Path(path).resolve() == self._best:
            checkpoint = {name: checkpoint[name] for name in ("epoch", "state_dict")}
        elif self._code:
            checkpoint = checkpoint | {_CODE: self._code}
        # into memory first: of a full disk torch tells in words of its own
        buffer = BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(Path(path), buffer.getbuffer(), summed=True)

    def remove_checkpoint(self, path: Any) -> None:
        sums.remove(Path(path))


class BestWeights(ModelCheckpoint):
    """Keeps the weights of the epoch with the best dev score, wherever the folder has gone since.

    Lightning's own forgets the best score when a training goes on in a folder of another name, and
    takes the next epoch for the best, whatever its score. ``WholeCheckpoints`` leaves the weights
    alone in the file: Lightning's ``save_weights_only`` would not ask callbacks for them, and keep
    others than those that were measured where one averages them.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder, "best", monitor="dev/score", mode="max", enable_version_counter=False
        )

    @property
    def state_key(self) -> str:
        # by which checkpoints of earlier versions know it
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({**state_dict, "dirpath": self.dirpath})


class LastEpoch(ModelCheckpoint):
    """Keeps the last whole epoch, from which a training that was cut off goes on.

    A class of its own: Lightning takes two that are alike for one, and refuses a plain
    ``ModelCheckpoint`` of the user's beside it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)


def resumable(last: Path, best: Path, code: Mapping[str, str] | None = None) -> bool:
    """Whether a training can go on from its last checkpoint.

    If one of the two is torn or was changed, or the first epochs are of other code, which is said,
    both are removed: the training begins anew, and would not find the best epoch otherwise.

    Args:
        last: the checkpoint.
        best: the weights of the best epoch.
        code: that of the reducer's classes that are somebody's own, see
            :func:`tokendrop.reducers.own_code.code_of`. Earlier versions did not note it.
    """
    if not last.is_file():
        return False
    try:
        before, _ = (read_checkpoint(file) for file in (last, best))
        for path in changed_code(before.get(_CODE, {}), code or {}):
            raise UserError(
                f"{last} was trained before the code of {path} changed: its stage is trained from "
                "its start"
            )
    except UserError as error:
        log.warning("%s", error)
        for file in (last, best):
            sums.remove(file)
        return False
    return True


def read_checkpoint(file: Path) -> dict[str, Any]:
    """What a checkpoint holds: tensors and plain values, as it may have come from elsewhere.

    Raises:
        UserError: it is torn, was changed, or holds anything else.
    """
    cure = "its stage is trained from its start"
    if sums.is_changed(file):
        raise UserError(f"{file} is torn or was changed: {cure}")
    try:
        found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        found["state_dict"]
    # torch tells the ways in which a file can be broken by many exceptions
    except Exception as error:
        raise UserError(
            f"{file} is torn, or no checkpoint of this package ({type(error).__name__}): {cure}"
        ) from error
    return found


def save_tensors(
    tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file with its checksum, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    # into memory first: of a full disk the library tells by an error of its own
    write_bytes(file, save(tensors, metadata), summed=True)
