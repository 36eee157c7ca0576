"""Methods as a graph of padded rows runs them: by rank, or by their own moments."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tokendrop.errors import UserError
from tokendrop.reducers.base import Ranking, Reducer, Shape
from tokendrop.reducers.chain import Chain


@dataclass(frozen=True, eq=False)
class Part:
    """A method, or one of those of a chain, as the graph runs it.

    Attributes:
        reducer: whose moments are asked.
        ranking: how it drops instead, if the number is known beforehand.
        most: (layers, N) tokens that leave a layer at most, by a row's first length; N is more than
            the backbone's longest row has, for a matrix may be wider than its rows are long.
        drops: the layers in which a row of some length loses tokens.
    """

    reducer: Reducer
    ranking: Ranking | None
    most: Tensor | None
    drops: frozenset[int]

    @classmethod
    def of(cls, reducer: Reducer, shape: Shape, widest: int) -> Part:
        ranking = reducer.ranking()
        if ranking is None:
            return cls(reducer, None, None, frozenset())
        lengths = range(widest + 1)
        most = torch.tensor([ranking.lengths(max(1, n)) for n in lengths]).T
        alive, drops = torch.tensor(lengths[: shape.max_tokens + 1]), set()
        for layer, kept in enumerate(most[:, : len(alive)]):
            if (kept < alive).any():
                drops.add(layer)
            alive = torch.minimum(kept, alive)
        return cls(reducer, ranking, most, frozenset(drops))


def parts_of(reducer: Reducer, shape: Shape, widest: int) -> list[Part]:
    """The methods that act in a model.

    Args:
        reducer: one, or a chain of them.
        shape: of the backbone.
        widest: matrix that the backbone has positions for.

    Raises:
        UserError: two of them drop tokens by rank: which ones is decided by both at once.
    """
    acting = reducer.active.values() if isinstance(reducer, Chain) else [reducer]
    parts = [Part.of(part, shape, widest) for part in acting]
    ranked = [type(part.reducer).__name__ for part in parts if part.ranking]
    if len(ranked) > 1:
        raise UserError(
            f"{' and '.join(ranked)} in one chain cannot be exported, because both rank the same "
            "tokens: export a model with one of them"
        )
    return parts
