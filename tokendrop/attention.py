"""Self-attention inside the rows of a packed batch, and the attention that each token received.

A run of rows with equal lengths is a dense block, so it goes through one call on a view, without a
copy and without a mask. The same call can return *received attention*, the column sums of the
attention probabilities, by which PoWER-BERT and Length-Adaptive Transformer rank tokens.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tokendrop.packed import Layout

Received = Literal["with_diagonal", "without_diagonal"]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    *,
    received: Received | None = None,
    key_bias: Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor | None]:
    """Softmax attention of each row over itself, scaled by 1/sqrt(head size).

    Args:
        query: (T, heads, head size), as are key and value.
        key: what queries are compared with.
        value: what is averaged.
        layout: where the rows lie.
        received: whether to sum up the attention each token received, and if so with or without
            the attention it paid to itself.
        key_bias: (T,) added to every logit of that key, for all heads and queries of its row.
        dropout: probability of zeroing an attention probability. Received attention is taken
            after it, as in the Length-Adaptive code.

    Returns:
        context (T, heads * head size), and received attention (T,) in fp32 summed over heads and
        over the queries of the row, or None if not asked for. Without dropout, and with the
        diagonal, a row of n tokens sums to heads * n.
    """
    if _use_varlen(query, received, key_bias, dropout):
        return _varlen(query, key, value, layout), None
    sizes = [rows * length for rows, length in layout.runs]
    biases = [None] * len(sizes) if key_bias is None else torch.split(key_bias, sizes)
    contexts, sums = [], []
    # split, not slices: its backward is one concatenation instead of one full-size tensor a run
    blocks = zip(
        layout.runs,
        torch.split(query, sizes),
        torch.split(key, sizes),
        torch.split(value, sizes),
        biases,
        strict=True,
    )
    for run, q, k, v, bias in blocks:
        rows, length = run
        q, k, v = (x.unflatten(0, (rows, length)).transpose(1, 2) for x in (q, k, v))
        mask = None if bias is None else bias.view(rows, 1, 1, length)
        if received is None:
            mask = None if mask is None else mask.to(q.dtype)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        else:
            out, total = _explicit(q, k, v, mask, received, dropout)
            sums.append(total)
        contexts.append(out.transpose(1, 2).reshape(rows * length, -1))
    return torch.cat(contexts), torch.cat(sums) if sums else None


def _explicit(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, received: Received, dropout: float
) -> tuple[Tensor, Tensor]:
    """Attention of a (rows, heads, length, head size) block with its probabilities at hand."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    logits = logits.float() if mask is None else logits.float() + mask
    probabilities = F.dropout(logits.softmax(-1), dropout)
    sums = probabilities.detach().sum((1, 2))
    if received == "without_diagonal":
        sums = sums - probabilities.detach().diagonal(dim1=-2, dim2=-1).sum(1)
    return probabilities.to(v.dtype) @ v, sums.flatten()


def _use_varlen(
    query: Tensor, received: Received | None, key_bias: Tensor | None, dropout: float
) -> bool:
    plain = received is None and key_bias is None and dropout == 0.0
    return plain and query.is_cuda and query.dtype in (torch.float16, torch.bfloat16)


def _varlen(query: Tensor, key: Tensor, value: Tensor, layout: Layout) -> Tensor:
    """The GPU's own ragged attention: one launch for all rows, half precision only."""
    from torch.nn.attention.varlen import varlen_attn

    offsets, longest = layout.offsets.int(), max(layout.lengths)
    out = varlen_attn(query, key, value, offsets, offsets, longest, longest)
    return out.flatten(1)  # type: ignore[union-attr]
