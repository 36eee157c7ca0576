"""First-k: each layer keeps the beginning of what is left of a row.

The comparator Head-WS of Goyal et al., "PoWER-BERT", ICML 2020, arXiv 2001.08950. Tokens
leave where those of PoWER-BERT do, so that with its configuration only the choice of the tokens
differs.
"""

from __future__ import annotations

from torch import Tensor

from baselines.schedule import ConstantShare
from tokendrop.reducers.base import View


class FirstK(ConstantShare):
    """Keep the first k_l of the tokens that reach layer l."""

    def scores(self, view: View) -> Tensor:
        return -view.batch.positions[view.layout.tokens]
