"""Longer training: the dense model, trained as long as a method that trains on after fine-tuning.

What of a method's accuracy comes from its further epochs alone is what this comparator gains.
"""

from __future__ import annotations

from typing import Literal

from tokendrop.bounds import Natural, Positive
from tokendrop.reducers.base import Reducer, Stage


class LongerTraining(Reducer):
    """Drop nothing; train for some more epochs, or anew."""

    reference = True

    def __init__(
        self,
        epochs: Natural = 3,
        learning_rate: Positive = 5e-5,
        start: Literal["previous", "pretrained"] = "previous",
    ) -> None:
        """
        Args:
            epochs: passes of training after the shared fine-tuning; the best on dev is kept.
            learning_rate: its peak rate.
            start: weights to begin with: the fine-tuned ones of the "previous" stage, or the
                "pretrained" ones, which makes it a fine-tuning with settings of its own.
        """
        super().__init__()
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.start_from: Literal["previous", "pretrained"] = start

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "longer",
                self.epochs,
                self.learning_rate,
                weight_decay=0.01,
                warmup=0.06,
                clip=1.0,
                start=self.start_from,
            )
        ]
