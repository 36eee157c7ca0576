"""Self-attention inside the rows of a packed batch, and the attention that each token received.

Neighbouring rows of equal length are one dense block of the packed tensor. It needs no copy and no
attention mask, and takes one call of the operator. Short rows of nearly equal lengths are padded
into a block, with a mask, where that is faster than a call for each (see
:class:`tokendrop.engine.blocks.Blocks`).

*Received attention* of a token is what all queries of its row paid to it: the column sums of the
attention probabilities, added up over the heads. PoWER-BERT and Length-Adaptive Transformer rank
tokens by it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tokendrop.engine.layout import Layout
from tokendrop.engine.linear import with_room
from tokendrop.engine.positions import Far, RelativeBias, RelativeBlock, SlidingWindow
from tokendrop.engine.probabilities import (
    CACHED,
    Attention,
    Received,
    autocast,
    probabilities,
    votes,
)
from tokendrop.engine.ragged import kernels_on

SHORT = 64  # up to so many tokens, several rows are faster by two plain products than by SDPA


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    *,
    received: Received | None = None,
    key_bias: Tensor | None = None,
    window: SlidingWindow | None = None,
    relative: RelativeBias | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor | None]:
    """Softmax attention of each row over itself, scaled by 1/sqrt(head size).

    Args:
        query: (T + spare, heads, head size). The spare rows behind the layout's tokens mean nothing
            and are ignored.
        key: of the same shape.
        value: of the same shape.
        layout: where the rows lie.
        received: whether to return received attention, and if so with or without what each token
            paid to itself; None for not at all.
        key_bias: (T,) added to every attention logit of a key, in all heads and for all queries of
            its row. A bias of -inf is what an attention mask does.
        window: what a query sees; None for its whole row.
        relative: what is added for the distance between a query and a key, if anything.
        dropout: probability of zeroing an attention probability. Received attention is summed
            after that, as in the Length-Adaptive code.

    Returns:
        the context (T + spare, heads * head size), whose spare rows mean nothing either; and the
        received attention (T,) in fp32, or None if it was not asked for. With what tokens paid to
        themselves, and without dropout, it sums to heads * n over a row of n tokens.
    """
    if relative is None and _use_varlen(query, received, key_bias, window, dropout):
        return _varlen(query, key, value, layout, window), None
    if kernels_on(query.device):
        from tokendrop.engine.ragged.attend import attend_ragged

        others = (received, key_bias, window, relative, dropout)
        return attend_ragged(query, key, value, layout, *others)
    blocks, beyond = layout.blocks, value[len(layout.tokens) :]
    places = None if window is None else window.positions
    places = places if relative is None else relative.positions(layout)
    if blocks.source is not None:
        query, key, value = (x.index_select(0, blocks.source) for x in (query, key, value))
        key_bias = None if key_bias is None else key_bias[blocks.source]
        places = None if places is None else places[blocks.source]
    shapes = blocks.shapes
    inference = not torch.is_grad_enabled() and not query.is_cuda
    if inference:
        # SDPA too would be given a number for each probability
        widest = SHORT if received is None and relative is None else max(layout.lengths)
        shapes = _small(shapes, query.shape[1], widest)
    sizes = [rows * width for rows, width in shapes]
    if blocks.source is None and beyond.shape[0]:
        query, key, value = (x[: sum(sizes)] for x in (query, key, value))
    contexts, sums = [], []
    # split, not slices: its backward is one concatenation instead of one full-size tensor a block
    parts = zip(
        shapes,
        *(
            [x] * len(sizes) if x is None or len(sizes) == 1 else torch.split(x, sizes)
            for x in (query, key, value, key_bias, blocks.real, places)
        ),
        strict=True,
    )
    row = 0
    for shape, q, k, v, bias, real, place in parts:
        q, k, v = (x.view(*shape, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
        bias, real = (None if x is None else x.view(shape) for x in (bias, real))
        far = None
        if window is not None and any(window.wide[row : row + shape[0]]):
            far = Far(place.view(shape), window.reach, real)
        biases = None if relative is None else relative.of_block(layout, row, place.view(shape))
        row += shape[0]
        faster = inference and shape[0] > 1 and shape[1] <= SHORT
        # with dropout on a CPU, SDPA would take plain products itself, and a slower dropout
        explicit = faster or received is not None or (dropout > 0 and not query.is_cuda)
        # and where a bias learns, it would keep the probabilities
        if explicit or (biases is not None and torch.is_grad_enabled()):
            out, total = _explicit(q, k, v, bias, real, far, biases, received, dropout)
            sums += [] if total is None else [total]
        else:
            mask = _added(_mask(bias, real), far, biases, slice(None))
            mask = None if mask is None else mask.to(q.dtype)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        contexts.append(out.transpose(1, 2).flatten(0, 1))
    received_sums = torch.cat(sums) if sums else None
    if blocks.slots is not None:
        context = torch.cat(contexts) if len(contexts) > 1 else contexts[0]
        context = context.index_select(0, with_room(blocks.slots, beyond.shape[0]))
        received_sums = None if received_sums is None else received_sums[blocks.slots]
    else:
        contexts += [beyond] if beyond.shape[0] else []
        context = torch.cat(contexts) if len(contexts) > 1 else contexts[0]
    return context.flatten(1), received_sums


def _mask(bias: Tensor | None, real: Tensor | None) -> Tensor | None:
    """The attention mask with the bias: (rows, 1, 1, width), added to the logits of each key.

    Padding gets -inf. None if there is neither padding nor a bias.
    """
    if real is not None:
        bias = torch.zeros_like(real, dtype=torch.float32) if bias is None else bias
        bias = bias.masked_fill(~real, -torch.inf)
    return None if bias is None else bias[:, None, None]


def _small(shapes: list[tuple[int, int]], heads: int, widest: int) -> list[tuple[int, int]]:
    """The blocks cut into smaller ones, whose probabilities stay in the processor's cache.

    Blocks wider than ``widest`` are left as they are.
    """
    cut = []
    for rows, width in shapes:
        step = max(1, CACHED // (heads * width**2)) if width <= widest else rows
        whole, rest = divmod(rows, step)
        cut += [(step, width)] * whole + [(rest, width)] * bool(rest)
    return cut


def _explicit(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    real: Tensor | None,
    far: Far | None,
    biases: RelativeBlock | None,
    received: Received | None,
    dropout: float,
) -> tuple[Tensor, Tensor | None]:
    """Attention of a (rows, heads, width, head size) block, computed through its probabilities.

    Returns:
        the context of the same shape, and the received attention (rows * width,) if asked for.
    """
    rows, heads, width, _ = q.shape
    mask = _mask(bias, real)
    if torch.is_grad_enabled() or dropout > 0:
        out, total = Attention.apply(  # type: ignore[no-untyped-call]
            *(x.contiguous() for x in autocast(q, k, v)),
            _added(mask, far, None, slice(None)),
            dropout,
            received,
            real,
            *((None, None) if biases is None else (biases.by_distance, biases.places)),
        )
        return out, None if total is None else total.flatten()
    k, v = k.contiguous(), v.contiguous()
    contexts: list[Tensor] = []
    sums: Tensor | None = None
    step = width if q.is_cuda else max(1, CACHED // (rows * heads * width))
    for start in range(0, width, step):
        queries = slice(start, start + step)
        found = probabilities(q[:, :, queries], k, _added(mask, far, biases, queries))
        contexts.append(torch.matmul(found.to(v.dtype), v))
        if received is not None:
            voted = votes(found, received, real, start)
            sums = voted if sums is None else sums + voted
    context = contexts[0] if len(contexts) == 1 else torch.cat(contexts, 2)
    return context, None if sums is None else sums.flatten()


def _added(
    mask: Tensor | None, far: Far | None, biases: RelativeBlock | None, queries: slice
) -> Tensor | None:
    """All that is added to the logits of some queries, None if nothing is."""
    added = mask
    if biases is not None:
        bias = biases.of(queries)
        added = bias if mask is None else bias + mask
    if far is None:
        return added
    hidden = far.of(queries)
    added = hidden.new_zeros((), dtype=torch.float32) if added is None else added
    return added.masked_fill(hidden, -torch.inf)


def _use_varlen(
    query: Tensor,
    received: Received | None,
    key_bias: Tensor | None,
    window: SlidingWindow | None,
    dropout: float,
) -> bool:
    """Whether the GPU's variable-length kernel can do what is asked for."""
    plain = received is None and key_bias is None and dropout == 0.0
    # the kernel measures a window's distances in the tokens that are left
    plain = plain and (window is None or window.whole)
    return plain and query.is_cuda and query.dtype in (torch.float16, torch.bfloat16)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, window: SlidingWindow | None
) -> Tensor:
    """The GPU's variable-length attention: one launch for all rows, half precision only."""
    from torch.nn.attention.varlen import varlen_attn

    cu_seqlens, longest = layout.cu_seqlens, max(layout.lengths)
    # -1 is no limit
    reach = -1 if window is None else window.reach
    out = varlen_attn(
        query, key, value, cu_seqlens, cu_seqlens, longest, longest, window_size=(reach, reach)
    )
    return out.flatten(1)  # type: ignore[union-attr]
