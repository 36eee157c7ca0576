"""The dense model by torch's variable-length attention and nothing else: what a GPU allows."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from tokendrop.engine.packed import Batch


def varlen_dense(model: Any, batch: Batch) -> Tensor:
    """(B, classes) logits of a BERT classifier in half precision on a GPU, nothing dropped."""
    from torch.nn.attention.varlen import varlen_attn

    offsets, longest = batch.layout.cu_seqlens, max(batch.layout.lengths)
    embeddings = model.bert.embeddings(
        input_ids=batch.input_ids[None],
        token_type_ids=batch.token_type_ids[None],
        position_ids=batch.positions[None],
    )
    hidden = embeddings[0]
    for layer in model.bert.encoder.layer:
        attention = layer.attention.self
        query, key, value = (
            linear(hidden).view(len(hidden), attention.num_attention_heads, -1)
            for linear in (attention.query, attention.key, attention.value)
        )
        context: Any = varlen_attn(query, key, value, offsets, offsets, longest, longest)
        hidden = layer.attention.output(context.flatten(1), hidden)
        hidden = layer.output(layer.intermediate(hidden), hidden)
    pooled = model.bert.pooler(hidden[batch.layout.first][:, None])
    logits: Tensor = model.classifier(model.dropout(pooled))
    return logits
