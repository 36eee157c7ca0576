"""Methods as a graph of padded rows runs them: by rank, or by their own moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from tokendrop.deploy.check import CURE
from tokendrop.deploy.padded import AskedOnHost
from tokendrop.errors import UserError, one_line
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
        lengths = range(widest + 1)
        with exporting(reducer, "ranking"):
            ranking = reducer.ranking()
            if ranking is None:
                return cls(reducer, None, None, frozenset())
            most = torch.tensor([_leaving(reducer, ranking, max(1, n), shape) for n in lengths]).T
        alive, drops = torch.tensor(lengths[: shape.max_tokens + 1]), set()
        for layer, kept in enumerate(most[:, : len(alive)]):
            if (kept < alive).any():
                drops.add(layer)
            alive = torch.minimum(kept, alive)
        return cls(reducer, ranking, most, frozenset(drops))


@contextmanager
def exporting(reducer: Reducer, asked: str) -> Iterator[None]:
    """Let what a method raises while it is traced be a mistake in the input: it may be anyone's.

    Args:
        reducer: the method.
        asked: which of its own methods is asked.
    """
    name = type(reducer).__name__
    try:
        yield
    except UserError:
        raise
    except AskedOnHost as error:
        raise UserError(
            f"{name} cannot be exported: it works out on the host what each row loses, which a "
            "graph cannot; it can be run by tokendrop only"
        ) from error
    except Exception as error:
        raise UserError(
            f"{name}.{asked} raised {type(error).__name__} while it was exported "
            f"({one_line(error)}): {CURE}"
        ) from error


def held_by(memory: Any) -> dict[str, Any]:
    """What a method's memory holds by name, to read and to change."""
    return memory if isinstance(memory, dict) else getattr(memory, "__dict__", {})


def _leaving(reducer: Reducer, ranking: Ranking, tokens: int, shape: Shape) -> list[int]:
    """How many tokens of a row of so many leave each layer at most.

    Raises:
        UserError: what the method says is no such number for each layer.
    """
    found = list(ranking.lengths(tokens))
    if len(found) != shape.layers or not all(isinstance(n, Integral) and n > 0 for n in found):
        raise UserError(
            f"{type(reducer).__name__} cannot be exported: the lengths of its ranking() are "
            f"{found} for a row of {tokens} tokens: give a whole number, 1 or more, for each of "
            f"the {shape.layers} layers"
        )
    return [int(n) for n in found]


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
