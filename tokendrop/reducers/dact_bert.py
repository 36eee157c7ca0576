"""DACT-BERT: differentiable adaptive computation time as an early exit.

Eyzaguirre et al., "DACT-BERT", NLP-Power workshop at ACL 2022, arXiv 2109.11745, with the
mechanism of Eyzaguirre and Soto, CVPR 2020, arXiv 2004.12770. The recipe (fine-tune first, one
unshared unit per block on the [CLS] state, initial halting value 0.9, everything trained jointly)
is a reconstruction: the BERT-specific choices of the paper could not be verified.

Decides: after how many blocks a row stops. No token is dropped. Training runs all blocks; at
inference a row leaves as soon as the remaining blocks provably cannot change its class, so halting
never changes an answer. Other tasks are ours: a tagger's row leaves once no token's tag can change,
an answered question once neither end of the span can; a number may still change by a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tokendrop.bounds import Bounds, Count, Finite, NonNegative, Positive
from tokendrop.engine.by_row import row_max, row_softmax, row_sum
from tokendrop.engine.layout import Layout
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded, Trace
from tokendrop.reducers.base import Decision, Group, Reducer, Shape, Stage, StageContext, View


@dataclass(eq=False)
class Running:
    """The recursion's state for every row of the batch.

    Attributes:
        answer: (B, classes) a_n, the mixture of the class distributions so far; (T, outputs) of
            every token where the task asks for that. In regression (B, 1), of the numbers.
        remaining: (B,) p_n, a bound on how much later blocks may still change.
        ponder: (B,) rho, the sum of p_n.
    """

    answer: Tensor
    remaining: Tensor
    ponder: Tensor


class Unit(nn.Module):
    """One block's head: a ReLU trunk shared by a class and a halting output."""

    def __init__(self, hidden: int, width: int, classes: int, halt_bias: float) -> None:
        super().__init__()
        self.trunk = nn.Linear(hidden, width)
        self.answer = nn.Linear(width, classes)
        self.halt = nn.Linear(width, 1)
        for linear in (self.trunk, self.answer, self.halt):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.constant_(self.halt.bias, halt_bias)

    def forward(self, read: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, classes) of N read states, and halting values h_n (R,) of R pooled ones."""
        trunk = torch.relu(self.trunk(read))
        whole = trunk if read is pooled else torch.relu(self.trunk(pooled))
        return self.answer(trunk), self.halt(whole).squeeze(-1).sigmoid()


class DactBert(Reducer):
    """Mix the answers of all blocks; stop when the rest cannot change the class."""

    operating_arguments = frozenset({"exit_tie", "exit_rule", "exit_tolerance", "check_every"})

    carried = ("answer", "remaining")
    note = "DACT-BERT's training recipe is a reconstruction; the paper's own could not be verified."

    def __init__(
        self,
        tau: NonNegative = 5e-3,
        epochs: Count = 3,
        learning_rate: Positive = 3e-5,
        unit_learning_rate: Positive | None = None,
        halt_bias: Finite = 2.197,
        trunk_width: Annotated[int, Bounds(1, 65_536)] | None = None,
        share_units: bool = False,
        pooling: Literal["cls", "mean"] = "cls",
        exit_tie: Literal["strict", "nonstrict"] = "strict",
        exit_rule: Literal["paper", "tight"] = "paper",
        exit_tolerance: NonNegative = 0.05,
        check_every: Count = 1,
    ) -> None:
        """
        Args:
            tau: weight of the ponder cost, the method's operating point: larger is faster and less
                accurate. One model is trained per value.
            epochs: passes of the joint training.
            learning_rate: its peak rate.
            unit_learning_rate: peak rate of the units, by default the same; they start from
                nothing, so short trainings want more.
            halt_bias: bias of the halting output at the start; 2.197 makes h = 0.9.
            trunk_width: units of the trunk, by default the hidden size.
            share_units: one unit for all blocks instead of one each.
            pooling: what a unit reads of a block's states: the [CLS] state, or the mean over the
                row, for encoders whose lower blocks put nothing into [CLS].
            exit_tie: whether the stopping rule must hold strictly (as in the code) or may be met
                with equality (as in the derivation).
            exit_rule: "paper", or "tight", a sharper bound that is also sound (ours).
            exit_tolerance: in regression, by what share of the range of the training labels the
                blocks that are left may still change an answer.
            check_every: test the rule after every so many blocks only; answers stay the same.
        """
        super().__init__()
        self.tau = tau
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.unit_learning_rate = unit_learning_rate
        self.halt_bias = halt_bias
        self.trunk_width = trunk_width
        self.share_units = share_units
        self.pooling = pooling
        self.exit_tie = exit_tie
        self.exit_rule = exit_rule
        self.exit_tolerance = exit_tolerance
        self.check_every = check_every

    def build(self, shape: Shape) -> None:
        width = self.trunk_width or shape.hidden
        count = 1 if self.share_units else shape.layers
        self.classes = shape.classes
        self.number = shape.head.output == "number"
        self.answering = shape.head.output == "span"
        self.by_token = shape.head.reads_tokens
        self.range = nn.Buffer(torch.tensor([0.0, 1.0]))  # of the answers of a regression
        self.units = nn.ModuleList(
            Unit(shape.hidden, width, shape.classes, self.halt_bias) for _ in range(count)
        )

    # -- the encoder's moments ------------------------------------------------------------------

    def start(self, batch: Batch) -> Running:
        rows = len(batch)
        kind: Any = {"device": batch.input_ids.device, "dtype": torch.float32}
        return Running(
            torch.zeros(len(batch.input_ids) if self.by_token else rows, self.classes, **kind),
            torch.ones(rows, **kind),
            torch.zeros(rows, **kind),
        )

    def after_layer(self, view: View) -> Decision | None:
        running: Running = view.memory
        layout = view.layout
        unit = self.units[0 if self.share_units else view.layer]
        pooled = self._pooled(view)
        logits, halting = unit(view.hidden if self.by_token else pooled, pooled)
        before = self._alive(running.remaining, layout.rows, view)
        remaining = before * halting
        answer = self._distribution(logits, layout)
        running.answer = self._mix(running.answer, answer, before, view)
        spent = self._alive(running.ponder, layout.rows, view) + remaining
        running.remaining = self._put(running.remaining, layout.rows, remaining, view)
        running.ponder = self._put(running.ponder, layout.rows, spent, view)

        left = view.layers - view.layer - 1
        counts = None
        if left == 0:
            leave = torch.ones_like(layout.rows, dtype=torch.bool)
            counts = [0] * len(layout.lengths)
        elif self.training or (view.layer + 1) % self.check_every:
            return None
        else:
            leave = self._final(running.answer, remaining, left, view)
        found = running.answer
        found = found if self.by_token else self._alive(found, layout.rows, view)
        # log-probabilities as logits: the softmax of log a is a, and the clamp bounds the loss
        answer = found if self.number else found.clamp_min(1e-8).log()
        return Decision(leave=leave, counts=counts, answer=answer)

    def _distribution(self, logits: Tensor, layout: Layout) -> Tensor:
        """y_n: over the classes, over the tokens of a row, or a number within the known range."""
        if self.number:
            low, high = self.range
            return low + (high - low) * logits.sigmoid()
        if self.answering:
            return torch.stack([row_softmax(side, layout) for side in logits.unbind(1)], 1)
        return logits.softmax(-1)

    def _mix(self, held: Tensor, answer: Tensor, before: Tensor, view: View) -> Tensor:
        """a_n = p y_n + (1 - p) a_(n-1), for every row or token that is alive."""
        layout = view.layout
        if self.answering:  # a dropped token has no more probability to gain
            share = torch.zeros_like(view.memory.ponder).index_copy(0, layout.rows, before)
            held = (1 - share[view.batch.layout.row])[:, None] * held
            return held.index_add(0, layout.tokens, before[layout.row][:, None] * answer)
        places = layout.tokens if self.by_token else layout.rows
        share = (before[layout.row] if self.by_token else before)[:, None]
        mixed = share * answer + (1 - share) * self._alive(held, places, view)
        return self._put(held, places, mixed, view)

    def _alive(self, values: Tensor, places: Tensor, view: View) -> Tensor:
        """Of values for all rows or tokens those at the places of the live ones."""
        # in training nothing leaves, and a GPU need not be told to gather
        return values if view.layout is view.batch.layout else values[places]

    def _put(self, values: Tensor, places: Tensor, new: Tensor, view: View) -> Tensor:
        """Values for all rows or tokens, with new ones at the places of the live ones."""
        return new if view.layout is view.batch.layout else values.index_copy(0, places, new)

    def _pooled(self, view: View) -> Tensor:
        """(R, hidden) what the units read."""
        if self.pooling == "cls":
            return view.cls
        return row_sum(view.hidden, view.layout) / view.layout.sizes[:, None]

    def _final(self, answer: Tensor, remaining: Tensor, left: int, view: View) -> Tensor:
        """(R,) whether the ``left`` blocks to go cannot change the answer. Section 4."""
        layout, change = view.layout, remaining * left
        # the share of the present answer in the final one, (1 - p)^left
        share = torch.exp(left * torch.log1p(-remaining))
        if self.number:
            return 1 - share <= self.exit_tolerance
        if self.answering:
            sides = [view.batch.layout.pad(side, 0.0)[layout.rows] for side in answer.unbind(1)]
            margins = [self._margin(F.pad(side, (0, 1)), share, change) for side in sides]
            margin = torch.stack(margins).amin(0)
        elif self.by_token:
            row = layout.row
            each = self._margin(answer[layout.tokens], share[row], change[row])
            margin = -row_max(-each, layout)
        else:
            margin = self._margin(answer[layout.rows], share, change)
        return margin > 0 if self.exit_tie == "strict" else margin >= 0

    def _margin(self, answer: Tensor, share: Tensor, change: Tensor) -> Tensor:
        """(N,) by how much the best of (N, classes) stays ahead of the second in the worst case."""
        best, second = answer.topk(2, dim=-1).values.unbind(-1)
        if self.exit_rule == "paper":
            return best * share - second - change
        return (best - second) * share - (1 - share)

    # -- training -------------------------------------------------------------------------------

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """tau times the mean ponder cost; the task loss is -log of the clamped mixture."""
        return {"ponder": self.tau * encoded.memory.ponder.mean()}

    def stages(self) -> list[Stage]:
        return [Stage("joint", self.epochs, self.learning_rate, clip=1.0, keep="best")]

    def enter(self, stage: Stage, context: StageContext) -> None:
        self.range.copy_(torch.tensor(context.answer_range))

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        units = {f"reducer.{name}": p for name, p in self.named_parameters()}
        shared = Group("backbone", dict(backbone.named_parameters()))
        return [shared, Group("units", units, self.unit_learning_rate)]

    def flops(self, trace: Trace, shape: Shape) -> int:
        width = self.trunk_width or shape.hidden
        rows = sum(len(layer.feed_forward.lengths) for layer in trace.layers)
        read = sum(len(layer.feed_forward.tokens) for layer in trace.layers)
        trunks, answers = (read + rows, read) if self.by_token else (rows, rows)
        return 2 * width * (shape.hidden * trunks + shape.classes * answers + rows)
