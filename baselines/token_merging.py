"""Token merging: similar tokens of a row become one, without any training.

Bolya et al., "Token Merging: Your ViT But Faster" (ToMe), ICLR 2023, arXiv 2210.09461, carried over
to text. Between attention and feed-forward part the tokens of a row are split alternately into two
sets; each token of the first finds the one in the second whose key is nearest, and the r nearest
pairs become their mean, weighted by how many original tokens each stands for. A token that stands
for s tokens counts s times as a key.

Differs from vision: r is a share of each row, because rows differ in length; [CLS] is never merged.
No PAD takes part, because there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tokendrop.bounds import Bounds
from tokendrop.packed import Batch, Layout
from tokendrop.reducers.base import Decision, Reducer, Shape, Trace, View

Order = Literal["text", "reference"]
Schedule = Literal["constant", "shrinking"]


@dataclass(eq=False)
class Merged:
    """What became of the tokens of the original batch, by (T,) numbers; None until some merged.

    Attributes:
        sizes: how many original tokens each one stands for.
        order: by which the tokens of a row are split into the two sets; None is that of the text.
    """

    sizes: Tensor | None = None
    order: Tensor | None = None


class TokenMerging(Reducer):
    """In every layer, merge a share of each row's tokens into their most similar neighbours."""

    operating_arguments = frozenset({"share"})
    note = "Token merging is not trained: it runs the shared fine-tuned model."

    def __init__(
        self,
        share: Annotated[float, Bounds(0, 0.5)] = 0.1,
        order: Order = "text",
        schedule: Schedule = "shrinking",
    ) -> None:
        """
        Args:
            share: r of a row as a share of its tokens, the operating point. Half of the tokens but
                [CLS] is the most that a layer can merge.
            order: of the tokens that are split alternately: that of the "text", or the
                "reference" code's, in which the unmerged tokens of the first set come before the
                second set.
            schedule: the share is of the row's first length in every layer, a "constant" number as
                in the code; or of what is left, a "shrinking" one.
        """
        super().__init__()
        self.share = share
        self.order: Order = order
        self.schedule: Schedule = schedule

    def build(self, shape: Shape) -> None:
        self.head_size = shape.hidden // shape.heads

    def start(self, batch: Batch) -> Merged:
        return Merged()

    def before_layer(self, view: View) -> Decision | None:
        """Proportional attention: softmax(Q K^T / sqrt(d) + log s). Section 3."""
        if view.memory.sizes is None:
            return None
        return Decision(key_bias=view.memory.sizes[view.layout.tokens].log())

    def after_attention(self, view: View) -> Decision | None:
        layout, memory = view.layout, view.memory
        first = [view.batch.layout.lengths[row] for row in layout.origin]
        merged = [
            min(self._left(n, view.layer) - self._left(n, view.layer + 1), (now - 1) // 2)
            for n, now in zip(first, layout.lengths, strict=True)
        ]
        if not any(merged):
            return None
        assert view.keys is not None
        order = None if memory.order is None else memory.order[layout.tokens]
        into, following = most_similar(view.keys.float().mean(1), merged, layout, order)
        every = len(view.batch.layout.tokens)
        if memory.sizes is None:
            memory.sizes = torch.ones(every, device=layout.device, dtype=torch.float32)
        weight = memory.sizes[layout.tokens]
        together = torch.zeros_like(weight).index_add(0, into, weight)
        memory.sizes = memory.sizes.index_copy(0, layout.tokens, together)
        if self.order == "reference":
            begun = following.new_zeros(every) if memory.order is None else memory.order
            memory.order = begun.index_copy(0, layout.tokens, following)
        counts = [n - r for n, r in zip(layout.lengths, merged, strict=True)]
        return Decision(into=into, weight=weight, counts=counts)

    def _left(self, tokens: int, layers: int) -> int:
        """How many of a row's tokens are left after so many layers, if all may merge.

        Counted from the row's first length, so that a short row too loses its share over the
        layers, if less than a token in each.
        """
        if self.schedule == "constant":
            left = tokens - layers * self.share * tokens
        else:
            left = tokens * (1 - self.share) ** layers
        # 30 - 3 * 3.0000000000000004 is a little less than 21
        return max(1, math.ceil(left - 1e-9))

    def flops(self, trace: Trace, shape: Shape) -> int:
        """The similarities, which are worked out for all rows at the width of the longest."""
        pairs = 0
        for layer in trace.layers:
            if layer.merged:
                rows, width = len(layer.attention.lengths), max(layer.attention.lengths)
                pairs += rows * ((width + 1) // 2) * (width // 2)
        return 2 * pairs * self.head_size


def most_similar(
    keys: Tensor, merged: list[int], layout: Layout, order: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Bipartite soft matching. Section 3.

    Args:
        keys: (T, head size) what is compared, by its cosine.
        merged: r of each row, more than 0 in some.
        layout: where the rows lie.
        order: (T,) by which the tokens of a row are split alternately, [CLS] first; as they lie
            if not given.

    Returns:
        (T,) the token that each one goes into, its own where it stays; and (T,) the order of those
        that stay as the reference code lays them: the first set, then the second. A row of which
        nothing merges keeps its order.
    """
    lying = torch.arange(len(keys), device=keys.device)
    place = layout.pad(lying, 0)
    real = layout.pad(torch.ones(len(keys), dtype=torch.bool, device=keys.device), False)
    if order is not None:
        last = torch.iinfo(order.dtype).max
        place = place.gather(1, layout.pad(order, last).argsort(dim=1, stable=True))
    directions = F.normalize(keys, dim=-1)[place]
    similarity = directions[:, ::2] @ directions[:, 1::2].transpose(1, 2)
    similarity = similarity.masked_fill(~real[:, None, 1::2], -torch.inf)
    nearest, partner = similarity.max(-1)
    movable = real[:, ::2].clone()
    movable[:, 0] = False  # [CLS]
    nearest = nearest.masked_fill(~movable, -torch.inf)
    rank = nearest.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    wanted = layout.on_device(merged)[:, None]
    chosen = rank < wanted
    targets = place.clone()
    targets[:, ::2] = torch.where(chosen, place[:, 1::2].gather(1, partner), place[:, ::2])
    columns = torch.arange(place.shape[1], device=keys.device)
    # rows of which nothing merges stay as they lie, whatever others do beside them
    ranks = torch.where(wanted > 0, columns + len(columns) * (columns % 2), columns)
    here = layout.unpad(place)
    into, following = (
        torch.empty_like(lying).index_copy(0, here, layout.unpad(found))
        for found in (targets, ranks)
    )
    return into, following
