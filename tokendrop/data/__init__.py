"""Rows of text from files, the Hub or the installed demo data, as packed batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokendrop.data.text_data import TextData

__all__ = ["TextData"]


def __getattr__(name: str) -> Any:
    """Import the data module only when it is used: the kinds of task import the readers here."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tokendrop.data.text_data import TextData

    return TextData
