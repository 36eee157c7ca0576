"""Passes of which the host knows beforehand how many tokens of each row leave each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokendrop.engine.blocks import TILE
from tokendrop.engine.facts import FACTS
from tokendrop.engine.graphs import sized
from tokendrop.engine.layout import kept_rows
from tokendrop.engine.live import is_silent
from tokendrop.engine.packed import Batch
from tokendrop.engine.probabilities import Received
from tokendrop.reducers.base import Ranking, Reducer
from tokendrop.reducers.moments import received_attention


@dataclass(frozen=True)
class Method:
    """What of a method a graph depends on.

    Attributes:
        ranking: how tokens are dropped, None if none are.
        received: which attention they are ranked by.
    """

    ranking: Ranking | None
    received: Received | None

    @classmethod
    def of(cls, reducer: Reducer) -> Method | None:
        """None for a method that decides otherwise than by ranks of received attention."""
        moments = (reducer.before_layer, reducer.after_attention, reducer.after_layer)
        if all(map(is_silent, moments)):
            return cls(None, None)
        ranking = reducer.ranking()
        if ranking is None or ranking.before or ranking.scores is not received_attention:
            return None
        if not ranking.keep_first:  # whether it dropped what the head reads would have to be found
            return None
        return cls(ranking, reducer.received)


@dataclass(frozen=True, eq=False)
class Station:
    """The rows between two layers that drop.

    Attributes:
        lengths: tokens of each row.
        origin: the row of the batch that each one is.
        came: the row of the station before that each one was.
    """

    lengths: tuple[int, ...]
    origin: tuple[int, ...]
    came: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return sum(self.lengths)


@dataclass(frozen=True, eq=False)
class Plan:
    """The tokens that each row keeps throughout a pass.

    Attributes:
        stations: from the batch on.
        drops: for each layer, whether another station follows inside of it.
    """

    stations: list[Station]
    drops: tuple[bool, ...]

    @classmethod
    def of(cls, batch: Batch, method: Method, layers: int) -> Plan | None:
        """None where a row would lose all its tokens."""
        lengths = batch.layout.lengths
        rows = tuple(range(len(lengths)))
        stations, drops = [Station(lengths, rows, rows)], []
        most: dict[int, Sequence[int]] = {}
        if method.ranking is not None:
            most = {n: method.ranking.lengths(n) for n in set(lengths)}
        for layer in range(layers if most else 0):
            last = stations[-1]
            pairs = zip(last.origin, last.lengths, strict=True)
            counts = [min(most[lengths[row]][layer], n) for row, n in pairs]
            drops.append(tuple(counts) != last.lengths)
            if drops[-1]:
                came = tuple(kept_rows(counts))
                if len(came) < len(rows):
                    return None
                kept = tuple(counts[row] for row in came)
                stations.append(Station(kept, tuple(last.origin[row] for row in came), came))
        return cls(stations, tuple(drops) or (False,) * layers)


@dataclass(frozen=True)
class Size:
    """What a graph has room for.

    Attributes:
        rows: one at least is without tokens, for tiles that serve none.
        tokens: of each station.
        longest: tokens of a row, or more.
    """

    rows: int
    tokens: tuple[int, ...]
    longest: int

    @classmethod
    def of(cls, plan: Plan) -> Size:
        start = plan.stations[0]
        tokens = tuple(sized(station.tokens) for station in plan.stations)
        return cls(_power(len(start.lengths) + 1), tokens, max(64, _power(max(start.lengths))))

    def or_more(self, other: Size) -> Size:
        """With room for what another one has room for, too."""
        return Size(self.rows, tuple(map(max, self.tokens, other.tokens)), self.longest)

    @property
    def total(self) -> int:
        """Tokens of all stations, which is what a pass takes its time for."""
        return sum(self.tokens)

    def numbers(self, plan: Plan) -> dict[str, NDArray[Any]]:
        """All that the graph is told of a plan, in arrays whose shapes depend on the size alone."""
        found: dict[str, NDArray[Any]] = {}
        empty = self.rows - 1
        for number, (station, tokens) in enumerate(zip(plan.stations, self.tokens, strict=True)):
            lengths = [*station.lengths, *(0,) * (self.rows - len(station.lengths))]
            facts: dict[str, NDArray[Any]]
            facts = {name: FACTS[name](lengths) for name in ("offsets", "cu_seqlens", "tiles")}
            facts["first"] = np.minimum(facts["offsets"][:-1], tokens - 1)
            # enough for any rows of so many tokens; those left over serve a row without any
            tiles = np.full((tokens // TILE + self.rows, 2), (empty, 0), dtype=np.int32)
            tiles[: len(facts["tiles"])] = facts["tiles"]
            facts["tiles"] = tiles
            found |= {f"{name}{number}": value for name, value in facts.items()}
        for number, station in enumerate(plan.stations[1:], 1):
            counts = np.zeros(self.rows, dtype=np.int64)
            counts[list(station.came)] = station.lengths
            came = np.full(self.rows, empty)
            came[: len(station.came)] = station.came
            found |= {f"counts{number}": counts, f"came{number}": came}
        places = np.arange(self.rows)
        places[: len(plan.stations[-1].origin)] = plan.stations[-1].origin
        return found | {"places": places}


def _power(number: int) -> int:
    """The power of two at or above a number."""
    return 1 << (number - 1).bit_length()
