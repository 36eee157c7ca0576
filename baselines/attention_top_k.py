"""Attention top-k: each layer keeps a constant share of its tokens, by the attention they received.

What PoWER-BERT and the Length-Adaptive Transformer are without anything learned or searched: their
score with a schedule that has one number. A constant ratio is also what the latter's search begins
with (Kim and Cho, ACL 2021, arXiv 2010.07003).
"""

from __future__ import annotations

from baselines.schedule import check_schedule, retraining, tokens_to_keep
from tokendrop.attention import Received
from tokendrop.packed import top_k
from tokendrop.reducers.base import Decision, Reducer, Shape, Stage, View


class AttentionTopK(Reducer):
    """Keep the k_l tokens that received most attention from the row's queries, and [CLS]."""

    received: Received = "with_diagonal"

    def __init__(
        self,
        ratio: float = 0.8,
        configuration: list[int] | None = None,
        epochs: int = 3,
        learning_rate: float = 3e-5,
    ) -> None:
        """
        Args:
            ratio: share of a row that leaves each attention, of what reached it, rounded up:
                the operating point.
            configuration: instead, the tokens that leave each layer, for instance those that
                another method found; never growing.
            epochs: passes of training with these tokens removed, after the shared fine-tuning.
            learning_rate: its peak rate.
        """
        super().__init__()
        self.ratio = ratio
        self.configuration = configuration
        self.epochs = epochs
        self.learning_rate = learning_rate

    def build(self, shape: Shape) -> None:
        check_schedule(self.ratio, self.configuration, shape.layers)

    def wants_received(self, view: View) -> Received | None:
        return None if self._counts(view) is None else self.received

    def after_attention(self, view: View) -> Decision | None:
        counts = self._counts(view)
        if counts is None:
            return None
        assert view.received is not None
        return Decision(keep=top_k(view.received, counts, view.layout), counts=counts)

    def _counts(self, view: View) -> list[int] | None:
        return tokens_to_keep(view.layout, view.layer, self.ratio, self.configuration)

    def stages(self) -> list[Stage]:
        return retraining(self.epochs, self.learning_rate)
