"""What a backbone is known by beside its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tokendrop.errors import UserError, one_line
from tokendrop.models.backbones import INSTALLED, resolve
from tokendrop.sums import known, line_of

# the file that transformers begins with, in the order in which it looks for one, and what has the
# tensors then; others may lie beside them, such as those of an optimiser
_FORMS = (
    ("model.safetensors", "model.safetensors"),
    ("model.safetensors.index.json", "*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin"),
    ("pytorch_model.bin.index.json", "*.bin"),
)


def backbone_fingerprint(name: str, random_init: dict[str, Any] | None = None) -> str | None:
    """What lies in a folder of one's own, so that other weights put there later are told from it.

    Returns:
        None where the name says it: of an installed backbone, or one of the Hub.

    Raises:
        UserError: a file cannot be read.
    """
    folder = Path(resolve(name))
    if name in INSTALLED or not folder.is_dir():
        return None
    used = [folder / "config.json"]
    if random_init is None:
        used += _weights(folder)
    try:
        lines = sorted(line_of(known(file), file.name) for file in used)
    except OSError as error:
        raise UserError(f"cannot read the backbone {name}: {one_line(error)}") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def _weights(folder: Path) -> list[Path]:
    """The files of a folder that its model's weights are read from."""
    tensors = next((tensors for first, tensors in _FORMS if (folder / first).is_file()), None)
    return [] if tensors is None else [*folder.glob(tensors)]
