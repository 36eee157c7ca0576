"""The dense model: every token through every layer. What all methods are compared with."""

from __future__ import annotations

from tokendrop.reducers.base import Reducer


class Dense(Reducer):
    """Drop nothing: every token goes through every layer."""

    reference = True
