"""Length-Adaptive Transformer: train once with random lengths, then run at any length.

Kim and Cho, "Length-Adaptive Transformer: Train Once with Length Drop, Use Anytime with Search",
ACL 2021, arXiv 2010.07003. Where paper and code (clovaai/length-adaptive-transformer) differ, the
code is followed.

Decides: which l_i tokens of each row leave the attention of layer i, by the attention they
received. The configuration (l_1, ..., l_N) is one for all rows and is chosen after training, e.g.
by ``tokendrop search``. Attention is summed over the row's own queries only: in the reference
padding queries vote too, so its ranking of a padded row depends on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor

from tokendrop.bounds import Natural, Positive, ShareBelow1
from tokendrop.engine.by_row import top_k
from tokendrop.engine.packed import Batch
from tokendrop.engine.probabilities import Received
from tokendrop.engine.trace import Encoded
from tokendrop.errors import UserError
from tokendrop.reducers.base import Decision, Ranking, Reducer, Shape, Stage, Step, View
from tokendrop.reducers.configuration import check_configuration
from tokendrop.reducers.moments import received_attention

FEWEST = 2  # tokens that every layer keeps


@dataclass(frozen=True, eq=False)
class Plan:
    """A sub-model, for the rows of one batch.

    Attributes:
        runs: for each layer, whether it runs.
        drops: for each layer, whether any row loses a token in it.
        kept: for each layer, the tokens of each row that leave it at most.
    """

    runs: tuple[bool, ...]
    drops: tuple[bool, ...]
    kept: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, rows: Sequence[int], lengths: Sequence[Sequence[int]], runs: Sequence[bool]
    ) -> Plan:
        """The plan for rows of so many tokens, each with its own l_1, ..., l_N."""
        drops = []
        alive = list(rows)
        for layer, runs_here in enumerate(runs):
            after = [min(n, length[layer]) for n, length in zip(alive, lengths, strict=True)]
            drops.append(runs_here and after != alive)
            alive = after if runs_here else alive
        return cls(tuple(runs), tuple(drops), tuple(zip(*lengths, strict=True)))


class LengthAdaptive(Reducer):
    """Rank tokens by received attention and keep l_i of each row in layer i, for any l."""

    operating_arguments = frozenset({"configuration"})
    received: Received = "with_diagonal"

    def __init__(
        self,
        length_drop: ShareBelow1 = 0.2,
        layer_drop: ShareBelow1 = 0.2,
        random_models: Natural = 2,
        epochs: Natural = 5,
        learning_rate: Positive = 2e-5,
        kl: Literal["reverse", "forward"] = "reverse",
        layer_drop_teacher: bool = True,
        length_basis: Literal["absolute", "row"] = "absolute",
        keep_cls: bool = True,
        configuration: list[int] | None = None,
        sub_models: Literal["distilled", "labelled", "random"] = "distilled",
    ) -> None:
        """
        Args:
            length_drop: p, the largest share of tokens that a layer drops in training.
            layer_drop: q, the probability of skipping a layer in a training pass.
            random_models: n_s, random sub-models of a step, beside the full and the smallest.
            epochs: passes of the training with random lengths.
            learning_rate: its peak rate.
            kl: "reverse", KL(sub-model || full model), as in the code; or "forward".
            layer_drop_teacher: skip layers in the full-length pass as well, as in the code.
            length_basis: l_i counts tokens of any row ("absolute", as in the paper), or scales
                with the length of each row so that short rows shrink too ("row").
            keep_cls: never drop [CLS]; False, as in the code, where a head reads every token;
                it is then a token like any other.
            configuration: l_1 >= ... >= l_N, at least 2 each, the method's operating point: any
                one runs on the same trained model. By default everything stays.
            sub_models: "distilled" from the full model, as in the paper; all "labelled", without
                distillation; or all labelled and "random", without the sandwich rule either.
        """
        super().__init__()
        self.length_drop, self.layer_drop = length_drop, layer_drop
        self.random_models, self.sub_models = random_models, sub_models
        self.epochs, self.learning_rate = epochs, learning_rate
        self.kl, self.layer_drop_teacher = kl, layer_drop_teacher
        self.length_basis, self.keep_cls = length_basis, keep_cls
        self.given = configuration
        # gives the sub-models of the next passes in place of the operating point
        self._plans: Callable[[Batch], Plan] | None = None

    def build(self, shape: Shape) -> None:
        self.layers, self.longest = shape.layers, shape.max_tokens
        self.configuration = (self.longest,) * self.layers
        if not self.keep_cls and not shape.head.reads_tokens:
            raise UserError(
                f"keep_cls false drops [CLS], which a {shape.head.title} reads alone: leave it true"
            )
        if self.given is not None:
            self.configuration = tuple(check_configuration(self.given, self.layers, FEWEST))

    # -- the encoder's moments ------------------------------------------------------------------

    def start(self, batch: Batch) -> Plan:
        if self._plans is not None:
            return self._plans(batch)
        return self._plan(batch, self.lengths_of, [True] * self.layers)

    def before_layer(self, view: View) -> Decision | None:
        plan: Plan = view.memory
        return None if plan.runs[view.layer] else Decision(skip=True)

    def wants_received(self, view: View) -> Received | None:
        plan: Plan = view.memory
        return self.received if plan.drops[view.layer] else None

    def after_attention(self, view: View) -> Decision | None:
        """Keep the l_i tokens with the largest column sums of attention, as PoWER-BERT does."""
        plan: Plan = view.memory
        if not plan.drops[view.layer]:
            return None
        rows = zip(view.layout.origin, view.layout.lengths, strict=True)
        counts = [min(plan.kept[view.layer][row], n) for row, n in rows]
        scores = received_attention(view)
        keep = top_k(scores, counts, view.layout, keep_first=self.keep_cls)
        return Decision(keep=keep, counts=counts)

    def ranking(self) -> Ranking | None:
        if self._plans is not None:
            return None
        return Ranking(self.lengths_of, received_attention, keep_first=self.keep_cls)

    def lengths_of(self, tokens: int, configuration: Sequence[int] | None = None) -> list[int]:
        """l_1, ..., l_N for a row of so many tokens at a configuration, by default the present."""
        configuration = self.configuration if configuration is None else configuration
        if self.length_basis == "absolute":
            return list(configuration)
        # ceil(tokens * length / L) in integers
        return [max(FEWEST, -(-tokens * length // self.longest)) for length in configuration]

    @contextmanager
    def following(self, plans: Callable[[Batch], Plan]) -> Iterator[None]:
        """Let the passes inside a ``with`` block run sub-models in place of the operating point.

        Args:
            plans: gives the sub-model of a batch.
        """
        self._plans = plans
        try:
            yield
        finally:
            self._plans = None

    def _plan(
        self, batch: Batch, lengths: Callable[[int], list[int]], runs: Sequence[bool]
    ) -> Plan:
        rows = batch.layout.lengths
        by_length = {n: lengths(n) for n in set(rows)}
        return Plan.of(rows, [by_length[n] for n in rows], runs)

    # -- training -------------------------------------------------------------------------------

    @property
    def passes(self) -> int:
        return self.random_models + 2

    def training_passes(self, step: Step) -> Iterator[dict[str, Tensor]]:
        """Sandwich rule with in-place distillation: (CE_full + sum_j KL_j) / (n_s + 2).

        One backward pass for each term. j = 0 is the smallest sub-model, the n_s others are
        random. Without distillation KL is CE; without the sandwich rule all n_s + 2 are random.
        Random numbers come from torch's global generator, as dropout's do.
        """
        share = 1 / self.passes
        if self.sub_models == "random":
            for _ in range(self.passes):
                yield {"task": share * step.task_loss(self._student(step, random=True))}
            return
        runs = self._draw_layers() if self.layer_drop_teacher else [True] * self.layers
        full = self._run(step, lambda tokens: [tokens] * self.layers, runs)
        teacher = full.logits.detach()
        yield {"task": share * step.task_loss(full)}
        for number in range(self.random_models + 1):
            student = self._student(step, random=number > 0)
            if self.sub_models == "labelled":
                yield {"task": share * step.task_loss(student)}
                continue
            passes = [student.logits, teacher]
            distance = step.divergence(*(passes if self.kl == "reverse" else passes[::-1]))
            yield {"distillation": share * distance}

    def _student(self, step: Step, *, random: bool) -> Encoded:
        """The pass of a random sub-model, or of the smallest one."""
        runs = self._draw_layers()
        draws = torch.rand(self.layers).tolist() if random else [0.0] * self.layers
        return self._run(step, partial(self._shrunk, draws, runs), runs)

    def _run(
        self, step: Step, lengths: Callable[[int], list[int]], runs: Sequence[bool]
    ) -> Encoded:
        with self.following(lambda batch: self._plan(batch, lengths, runs)):
            return step.forward()

    def _shrunk(self, draws: Sequence[float], runs: Sequence[bool], tokens: int) -> list[int]:
        start = self.longest if self.length_basis == "absolute" else tokens
        return shrinking_lengths(start, self.length_drop, draws, runs)

    def _draw_layers(self) -> list[bool]:
        """LayerDrop: each layer runs with probability 1 - q; drawn again if none does."""
        while True:
            runs: list[bool] = (torch.rand(self.layers) >= self.layer_drop).tolist()
            if any(runs):
                return runs

    def stages(self) -> list[Stage]:
        """AdamW without decay or warm-up, linear decay, clip 1."""
        return [Stage("length_adaptive", self.epochs, self.learning_rate, clip=1.0, keep="best")]

    def cure_for_keeping_all(self) -> str:
        if self.given is None:
            return "it has no configuration: search for one, or give one"
        if self.length_basis == "row":
            return "give a shorter configuration"
        return (
            "its lengths are absolute, so rows shorter than them stay whole; length_basis: row "
            "scales them with each row"
        )

    def describe(self) -> dict[str, Any]:
        return {"configuration": list(self.configuration)}


def shrinking_lengths(
    start: int, ratio: float, draws: Sequence[float], runs: Sequence[bool] | None = None
) -> list[int]:
    """LengthDrop: lengths of all layers, each drawn from what the one before kept.

    Args:
        start: tokens that enter the first layer.
        ratio: largest share that a layer drops.
        draws: for each layer, from [0, 1), where between the smallest possible length and the
            whole it is; all 0 drop the full ratio in each layer.
        runs: for each layer, whether it runs; a skipped one repeats the length before it.
    """

    def shrink(length: int, layer: tuple[float, bool]) -> int:
        draw, runs_here = layer
        if not runs_here:
            return length
        lowest = math.ceil((1 - ratio) * length)
        return max(FEWEST, lowest + math.floor(draw * (length - lowest + 1)))

    layers = zip(draws, [True] * len(draws) if runs is None else runs, strict=True)
    return list(accumulate(layers, shrink, initial=start))[1:]
