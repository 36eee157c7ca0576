"""PoWER-BERT: progressive elimination of word vectors by a learned retention configuration.

Goyal et al., "PoWER-BERT: Accelerating BERT Inference via Progressive Word-vector Elimination",
ICML 2020, arXiv 2001.08950. Where paper and code (IBM/PoWER-BERT) differ, the code is followed.

Decides: which tokens of each row leave layer l, between its attention and its feed-forward part.
How many stay, k_l, is one number per layer for all inputs; which ones depends on the attention
they received. Received attention is summed over the row's own queries only, so unlike in the
reference the ranking does not depend on padding.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tokendrop.bounds import Natural, NonNegative, Positive
from tokendrop.engine.by_row import row_rank, top_k
from tokendrop.engine.probabilities import Received
from tokendrop.engine.trace import Encoded
from tokendrop.errors import UserError
from tokendrop.reducers.base import (
    Decision,
    Group,
    Ranking,
    Reducer,
    Shape,
    Stage,
    StageContext,
    View,
)
from tokendrop.reducers.configuration import check_configuration
from tokendrop.reducers.moments import received_attention

log = logging.getLogger(__name__)


class PowerBert(Reducer):
    """Rank tokens by received attention and keep the k_l best of each row in layer l.

    Attributes:
        configuration: k_1 >= ... >= k_L, the tokens that leave each layer; at first everything
            stays.
    """

    recipe = 2  # in the row basis the search ranked each row as if it were the longest
    configuration: tuple[int, ...]
    received: Received = "without_diagonal"
    attention_dropout = False

    def __init__(
        self,
        mass_weight: NonNegative = 1e-3,
        soft_learning_rate: Positive = 3e-3,
        learning_rate: Positive = 3e-5,
        search_epochs: Natural = 3,
        retrain_epochs: Natural = 3,
        mass_rounding: Literal["floor", "ceil"] = "floor",
        retention_init: Literal["ones", "length_histogram"] = "ones",
        retention_basis: Literal["absolute", "row"] = "absolute",
        soft_keep_cls: bool = False,
        configuration: list[int] | None = None,
    ) -> None:
        """
        Args:
            mass_weight: lambda, the weight of the loss that shrinks the configuration. This is the
                method's operating point: larger is faster and less accurate.
            soft_learning_rate: peak rate of the retention vectors r in the search.
            learning_rate: peak rate of the backbone.
            search_epochs: length of phase 2, the search for a configuration.
            retrain_epochs: length of phase 3, training with tokens really removed; 0 goes without.
            mass_rounding: how a layer's mass becomes a count: "floor" as in the code, or "ceil".
            retention_init: r starts at 1 ("ones", as in the code), or at the share of training
                rows that have so many tokens, which spares the search the ranks nobody uses.
            retention_basis: k_l counts tokens ("absolute", as in the paper), or scales with the
                length of each row so that short rows shrink too ("row"); the search then spreads
                r_l over the ranks of each row, whatever its length.
            soft_keep_cls: protect [CLS] in the search as well; the code does not.
            configuration: skip the search and use these counts, one per layer, never growing.
        """
        super().__init__()
        self.mass_weight = mass_weight
        self.soft_learning_rate = soft_learning_rate
        self.learning_rate = learning_rate
        self.search_epochs = search_epochs
        self.retrain_epochs = retrain_epochs
        self.mass_rounding = mass_rounding
        self.retention_init = retention_init
        self.retention_basis = retention_basis
        self.soft_keep_cls = soft_keep_cls
        self.given = configuration
        self.counts: Tensor
        self.register_load_state_dict_post_hook(_read_counts)  # type: ignore[no-untyped-call]
        self.searching = False

    def build(self, shape: Shape) -> None:
        self.longest = shape.max_tokens
        if self.given is None and not self.search_epochs:
            raise UserError(
                "PowerBert.search_epochs 0 leaves nothing that says what to drop: use 1 or more, "
                "or give a configuration"
            )
        if self.retention_basis == "row" and self.retention_init == "length_histogram":
            raise UserError(
                "PowerBert.retention_init length_histogram is about ranks that short rows lack, "
                "and with retention_basis row they lack none: use ones"
            )
        counts = [shape.max_tokens] * shape.layers
        if self.given is not None:
            counts = check_configuration(self.given, shape.layers)
        self.counts = nn.Buffer(torch.tensor(counts))
        self.configuration = tuple(counts)
        self.retention = nn.Parameter(torch.ones(shape.layers, shape.max_tokens))

    # -- the encoder's moments ------------------------------------------------------------------

    def start(self, batch: object) -> tuple[int, ...]:
        return self.configuration

    def wants_received(self, view: View) -> Received | None:
        if self.searching or self._wanted(view) is not None:
            return self.received
        return None

    def after_attention(self, view: View) -> Decision | None:
        if self.searching:
            return Decision(scale=self._soft_extract(view))
        wanted = self._wanted(view)
        if wanted is None:
            return None
        return Decision(keep=top_k(received_attention(view), wanted, view.layout), counts=wanted)

    def ranking(self) -> Ranking | None:
        if self.searching:
            return None

        def lengths(tokens: int) -> list[int]:
            return [self._most(count, tokens) for count in self.configuration]

        return Ranking(lengths, received_attention)

    def _wanted(self, view: View) -> list[int] | None:
        """(R,) tokens to keep of each row, or None where every row stays whole. Section 2.2."""
        count, lengths = view.memory[view.layer], view.layout.lengths
        kept = [min(self._most(count, s), n) for s, n in zip(_starts(view), lengths, strict=True)]
        return None if kept == list(lengths) else kept

    def _most(self, count: int, start: int) -> int:
        """What a count of the configuration means for a row that began with so many tokens."""
        if self.retention_basis == "absolute":
            return count
        return max(1, math.ceil(start * count / self.longest))

    def _soft_extract(self, view: View) -> Tensor:
        """(T,) r_l of the token's rank: nothing is removed, low ranks are weakened. Section 2.3."""
        assert view.received is not None
        scores = view.received
        if self.soft_keep_cls:
            scores = scores.masked_fill(view.layout.is_first, torch.inf)
        rank, retention = row_rank(scores, view.layout), self.retention[view.layer]
        if self.retention_basis == "absolute":
            factors = retention[rank]
        else:
            factors = _mean_of_share(
                retention, rank, view.layout.on_device(_starts(view))[view.layout.row]
            )
        if self.soft_keep_cls:
            factors = factors.masked_fill(view.layout.is_first, 1.0)
        return factors

    # -- training -------------------------------------------------------------------------------

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """lambda * sum_l l * mass_l, so that later layers, which cost all below, weigh more."""
        if not self.searching:
            return {}
        mass = self.retention.sum(1)
        if self.retention_basis == "row":
            # lambda weighs tokens, and this is how many of them the rows of the batch keep
            lengths = encoded.batch.layout.lengths
            mass = mass * (sum(lengths) / len(lengths) / self.longest)
        depth = torch.arange(1, len(mass) + 1, device=mass.device)
        return {"mass": self.mass_weight * (depth * mass).sum()}

    def stages(self) -> list[Stage]:
        """Search and re-train: Adam, eps 1e-7, no decay, no clip, 10 % warm-up. Section 3."""

        def stage(name: str, epochs: int, keep: Literal["best", "last"]) -> Stage:
            return Stage(
                name,
                epochs,
                self.learning_rate,
                optimizer="adam",
                eps=1e-7,
                warmup=0.1,
                schedule="keras",
                keep=keep,
            )

        search = stage("search", self.search_epochs, "last")
        retrain = stage("retrain", self.retrain_epochs, "best")
        return [retrain] if self.given is not None else [search, retrain]

    def enter(self, stage: Stage, context: StageContext) -> None:
        self.searching = stage.name == "search"
        if not self.searching:
            return
        summed = 0.455 * context.steps * self.soft_learning_rate
        if summed < 1:
            log.warning(
                "PoWER-BERT: the learning rates of the retention vectors sum to %.2f, so no rank "
                "can fall below %.2f whatever mass_weight is: raise search_epochs or "
                "soft_learning_rate",
                summed,
                1 - summed,
            )
        if self.retention_init == "length_histogram":
            ranks = torch.arange(self.longest)
            share = (context.lengths[:, None] > ranks).float().mean(0)
            self.retention.data.copy_(share.to(self.retention.device))

    def leave(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        if stage.name == "search":
            masses = self.retention.detach().sum(1).tolist()
            self.counts.copy_(torch.tensor(configuration_from_mass(masses, self.mass_rounding)))
            _read_counts(self)
            self.searching = False
            log.info("PoWER-BERT: configuration %s", list(self.configuration))

    def after_step(self, epoch: int) -> None:
        self.retention.data.clamp_(0, 1)

    def groups(self, stage: Stage, backbone: nn.Module) -> list[Group]:
        groups = [Group("backbone", dict(backbone.named_parameters()))]
        if stage.name == "search":
            soft = {"reducer.retention": self.retention}
            groups.append(Group("retention", soft, self.soft_learning_rate))
        return groups

    def cure_for_keeping_all(self) -> str:
        if self.retention_basis == "absolute":
            return (
                "its counts are absolute, so rows shorter than them stay whole; retention_basis: "
                "row scales them with each row"
            )
        if self.given is not None:
            return "give a shorter configuration"
        # with few steps the ranks cannot fall far, however much the mass weighs
        return "raise soft_learning_rate, search_epochs or mass_weight"

    def describe(self) -> dict[str, Any]:
        if self.searching:
            return {"retention_mass": float(self.retention.detach().sum())}
        return {"configuration": list(self.configuration), "tokens_kept": sum(self.configuration)}


def _starts(view: View) -> list[int]:
    """(R,) how many tokens each row began with."""
    return [view.batch.layout.lengths[row] for row in view.layout.origin]


def _mean_of_share(retention: Tensor, rank: Tensor, tokens: Tensor) -> Tensor:
    """(T,) means of r, taken as a step function over a row that is stretched to its length.

    The token of rank i among n covers r from i N / n to (i + 1) N / n, so the factors of a row sum
    to n / N of the mass, which is what a count of the configuration means for the row.

    Args:
        retention: (N,) r of one layer.
        rank: (T,) of each token in its row.
        tokens: (T,) how many tokens the token's row has, N at most.
    """
    longest = len(retention)
    sums = torch.cat([retention.new_zeros(1), retention]).cumsum(0)

    def up_to(rank: Tensor) -> Tensor:
        """The integral of r from 0 to rank N / n; its whole part is exact in integers."""
        whole, rest = rank * longest // tokens, rank * longest % tokens
        return sums[whole] + rest / tokens * retention[whole.clamp_max(longest - 1)]

    return (up_to(rank + 1) - up_to(rank)) * tokens / longest


def _read_counts(reducer: PowerBert, *_: object) -> None:
    """Tell the host what is saved, so that no pass has to read it from a device."""
    reducer.configuration = tuple(reducer.counts.tolist())


def configuration_from_mass(
    masses: Sequence[float], rounding: Literal["floor", "ceil"] = "floor"
) -> list[int]:
    """Counts from the mass of each layer: rounded, at least 1, never growing. Section 3."""
    whole = math.floor if rounding == "floor" else math.ceil
    return list(accumulate((max(1, whole(mass)) for mass in masses), min))
