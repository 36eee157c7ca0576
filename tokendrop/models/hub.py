"""Models on the Hugging Face Hub: found by name, and put there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from tokendrop.errors import UserError, brief, one_line


def model_folder(name: str | Path, **options: Any) -> Path:
    """A local folder, with what ~ stands for, or the local copy of a model on the Hugging Face Hub.

    Args:
        name: of either.
        options: of ``snapshot_download``, by which the Hub is asked.

    Raises:
        UserError: it is no name, there is neither, or the Hub cannot be reached.
    """
    if not isinstance(name, str | Path):
        raise UserError(f"{brief(name)} names no model: give its folder, or its name on the Hub")
    if not str(name).strip():  # which would be the current folder
        raise UserError(f"{name!r} names no model: give its folder, . for the current one")
    folder = Path(os.path.expanduser(name))
    if folder.exists():
        return folder
    try:
        validate_repo_id(str(name))
    except HFValidationError as error:
        raise UserError(
            f"no model {str(name)!r}: there is no such folder, and it cannot be a name on the "
            "Hugging Face hub, like owner/model"
        ) from error
    try:
        return Path(snapshot_download(str(name), **options))
    except (OSError, ValueError) as error:
        raise UserError(
            f"no model {str(name)!r}: it is no local folder, and the Hugging Face hub does not "
            "have it or cannot be reached; name a model folder or a Hub model"
        ) from error


def upload(folder: Path, repo_id: str, private: bool | None, token: str | None) -> str:
    """Put a model folder on the Hugging Face Hub.

    Returns:
        the address of its page.

    Raises:
        UserError: a bad name or token, or the Hub cannot be reached.
    """
    try:
        hub = HfApi(token=token)
        address = hub.create_repo(repo_id, private=private, exist_ok=True)
        hub.upload_folder(repo_id=address.repo_id, folder_path=folder)
    except Exception as error:  # of the HTTP library, which is another one in each release
        raise UserError(
            f"cannot put the model on the Hugging Face hub as {repo_id!r} "
            f"({one_line(error) or type(error).__name__}): check the name, the connection, and "
            "the token ('hf auth login', or token=...)"
        ) from error
    return str(address)
