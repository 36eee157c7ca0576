"""Token merging: similar tokens of a row become one, without any training.

Bolya et al., "Token Merging: Your ViT But Faster" (ToMe), ICLR 2023, arXiv 2210.09461, carried over
to text. Between attention and feed-forward part the tokens of a row are split alternately into two
sets; each token of the first finds the one in the second whose key is nearest, and the r nearest
pairs become their mean, weighted by how many original tokens each stands for. A token that stands
for s tokens counts s times as a key.

Differs from vision: r is a share of each row, because rows differ in length; [CLS] is never merged;
tokens stay in their order. No PAD takes part, because there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tokendrop.engine.trace import Trace
from tokendrop.errors import UserError
from tokendrop.packed import Batch, Layout
from tokendrop.reducers.base import Decision, Reducer, Shape, View


@dataclass(eq=False)
class Sizes:
    """How many original tokens each one stands for, (T,) of the original batch; None at first."""

    values: Tensor | None = None


class TokenMerging(Reducer):
    """In every layer, merge a share of each row's tokens into their most similar neighbours."""

    operating_arguments = frozenset({"share"})
    note = "Token merging is not trained: it runs the shared fine-tuned model."

    def __init__(self, share: float = 0.1) -> None:
        """
        Args:
            share: r of a row as a share of its tokens, rounded down, the operating point. Half of
                the tokens but [CLS] is the most that a layer can merge.
        """
        super().__init__()
        self.share = share

    def build(self, shape: Shape) -> None:
        if not 0 <= self.share <= 0.5:
            raise UserError(f"share {self.share} is out of range: use 0 to 0.5")
        self.head_size = shape.hidden // shape.heads

    def start(self, batch: Batch) -> Sizes:
        return Sizes()

    def before_layer(self, view: View) -> Decision | None:
        """Proportional attention: softmax(Q K^T / sqrt(d) + log s). Section 3."""
        if view.memory.values is None:
            return None
        return Decision(key_bias=view.memory.values[view.layout.tokens].log())

    def after_attention(self, view: View) -> Decision | None:
        layout = view.layout
        # 0.1 * 30 is a little more than 3, and 0.29 * 100 a little less than 29
        merged = [min(int(self.share * n + 1e-9), (n - 1) // 2) for n in layout.lengths]
        if not any(merged):
            return None
        assert view.keys is not None
        into = most_similar(view.keys.float().mean(1), merged, layout)
        sizes = view.memory.values
        if sizes is None:
            sizes = torch.ones(len(view.batch.layout.tokens), device=layout.device)
        weight = sizes[layout.tokens]
        together = torch.zeros_like(weight).index_add(0, into, weight)
        view.memory.values = sizes.index_copy(0, layout.tokens, together)
        counts = [n - r for n, r in zip(layout.lengths, merged, strict=True)]
        return Decision(into=into, weight=weight, counts=counts)

    def flops(self, trace: Trace, shape: Shape) -> int:
        """The similarities, which are worked out for all rows at the width of the longest."""
        pairs = 0
        for layer in trace.layers:
            if layer.merged:
                rows, width = len(layer.attention.lengths), max(layer.attention.lengths)
                pairs += rows * ((width + 1) // 2) * (width // 2)
        return 2 * pairs * self.head_size


def most_similar(keys: Tensor, merged: list[int], layout: Layout) -> Tensor:
    """Bipartite soft matching. Section 3.

    Args:
        keys: (T, head size) what is compared, by its cosine.
        merged: r of each row, more than 0 in some.
        layout: where the rows lie.

    Returns:
        (T,) the token that each one goes into, its own where it stays.
    """
    place = layout.pad(torch.arange(len(keys), device=keys.device), 0)
    real = layout.pad(torch.ones(len(keys), dtype=torch.bool, device=keys.device), False)
    directions = F.normalize(keys, dim=-1)[place]
    similarity = directions[:, ::2] @ directions[:, 1::2].transpose(1, 2)
    similarity = similarity.masked_fill(~real[:, None, 1::2], -torch.inf)
    nearest, partner = similarity.max(-1)
    movable = real[:, ::2].clone()
    movable[:, 0] = False  # [CLS]
    nearest = nearest.masked_fill(~movable, -torch.inf)
    rank = nearest.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    chosen = rank < torch.tensor(merged, device=keys.device)[:, None]
    into = place.clone()
    into[:, ::2] = torch.where(chosen, place[:, 1::2].gather(1, partner), place[:, ::2])
    return layout.unpad(into)
