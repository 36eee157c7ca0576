"""Attention top-k: each layer keeps a constant share of its tokens, by the attention they received.

What PoWER-BERT and the Length-Adaptive Transformer are without anything learned or searched: their
score with a schedule that has one number. A constant ratio is also what the latter's search begins
with (Kim and Cho, ACL 2021, arXiv 2010.07003).
"""

from __future__ import annotations

from torch import Tensor

from baselines.schedule import ConstantShare
from tokendrop.reducers.base import Received, View


class AttentionTopK(ConstantShare):
    """Keep the k_l tokens that received most attention from the row's queries, and [CLS]."""

    received: Received = "with_diagonal"

    def wants_received(self, view: View) -> Received | None:
        return None if self.counts(view.layout, view.layer) is None else self.received

    def scores(self, view: View) -> Tensor:
        assert view.received is not None
        return view.received
