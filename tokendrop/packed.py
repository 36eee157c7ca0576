"""Packed rows and what is worked out of them, for methods of your own: these names stay."""

from tokendrop.engine.by_row import row_max, row_rank, row_softmax, row_sum, top_k
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch

__all__ = ["Batch", "Layout", "row_max", "row_rank", "row_softmax", "row_sum", "top_k"]
