"""What length configurations cost, and the least that a search can reach, trained or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from transformers import PretrainedConfig

from tokendrop.errors import UserError
from tokendrop.families import family_of_type
from tokendrop.measure.flops import embedding_flops, layer_flops
from tokendrop.reducers.base import Reducer, Shape
from tokendrop.reducers.length_adaptive import LengthAdaptive, shrinking_lengths
from tokendrop.reducers.length_adaptive.search.front import Configuration, check_budget, too_small


def searchable(reducer: Reducer) -> LengthAdaptive:
    """The reducer, if its configurations can be searched.

    Raises:
        UserError: it is another method.
    """
    if not isinstance(reducer, LengthAdaptive):
        raise UserError(
            f"{type(reducer).__name__} cannot be searched for length configurations: only a "
            "model that was trained with LengthAdaptive can, and not as a part of a chain"
        )
    return reducer


class Costs:
    """Mean FLOPs of a row at a configuration, by the closed form for the tokens really kept."""

    def __init__(
        self,
        reducer: LengthAdaptive,
        config: PretrainedConfig,
        shape: Shape,
        lengths: Iterable[int],
    ) -> None:
        """
        Args:
            reducer: built; its operating point does not matter.
            config: of the backbone.
            shape: the backbone's sizes.
            lengths: tokens of each row.
        """
        self._reducer, self._shape = reducer, shape
        family = family_of_type(config.model_type)
        # of a row whose head reads one state, and of each token where it reads them all
        self._row_head = 0 if shape.head.reads_tokens else family.head_flops(config)
        self._token_head = family.token_head_flops(config) if shape.head.reads_tokens else 0
        self._tokens = Counter(lengths)
        self._known: dict[Configuration, float] = {}
        self.smallest = self(
            tuple(shrinking_lengths(shape.max_tokens, reducer.length_drop, [0.0] * shape.layers))
        )
        self.full = self((shape.max_tokens,) * shape.layers)

    def __call__(self, configuration: Configuration) -> float:
        if configuration not in self._known:
            total = 0
            for tokens, rows in self._tokens.items():
                alive = tokens
                total += rows * embedding_flops(tokens, self._shape)
                total += rows * (self._row_head + tokens * self._token_head)
                for length in self._reducer.lengths_of(tokens, configuration):
                    fed = min(alive, length)
                    total += rows * layer_flops([alive], fed, self._shape, projected=fed)
                    alive = fed
            self._known[configuration] = total / self._tokens.total()
        return self._known[configuration]

    def check(self, budgets: Sequence[float]) -> None:
        """
        Raises:
            UserError: a budget is no share, or less than the smallest configuration of the training
                needs.
        """
        for budget in budgets:
            check_budget(budget)
            if budget < self.smallest / self.full:
                absolute = self._reducer.length_basis == "absolute"
                raise too_small(budget, self.smallest / self.full, absolute)
