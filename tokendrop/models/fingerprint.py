"""What a backbone is known by beside its name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tokendrop.errors import UserError, one_line
from tokendrop.models.backbones import INSTALLED, resolve
from tokendrop.sums import known, line_of


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
        used += [*folder.glob("*.safetensors")] or [*folder.glob("pytorch_model*.bin")]
    try:
        lines = sorted(line_of(known(file), file.name) for file in used)
    except OSError as error:
        raise UserError(f"cannot read the backbone {name}: {one_line(error)}") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]
