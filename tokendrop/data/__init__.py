"""Rows of text from files, the Hub or the installed demo data, as packed batches."""

from tokendrop.data.text_data import TextData

__all__ = ["TextData"]
