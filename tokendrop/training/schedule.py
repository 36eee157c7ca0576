"""The learning rate of a stage, step by step."""

from __future__ import annotations

from collections.abc import Callable

from tokendrop.reducers.base import Stage


def learning_rate_factor(stage: Stage, steps: int) -> Callable[[int], float]:
    """The learning rate's factor as a function of the optimiser steps already taken.

    "linear" is the usual warm-up from 0 in step 0 and decay to 0; "keras" numbers steps from 1 and
    decays as 1 - t / steps, so it falls at once to 1 - warm-up after the warm-up.
    """
    warmup = int(stage.warmup * steps)

    def linear(done: int) -> float:
        if done < warmup:
            return done / warmup
        return max(0.0, (steps - done) / max(1, steps - warmup))

    def keras(done: int) -> float:
        t = done + 1
        return t / warmup if t <= warmup else max(0.0, 1 - t / steps)

    return keras if stage.schedule == "keras" else linear
