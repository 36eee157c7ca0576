"""MPNet: relative positions beside the absolute ones, shared by all layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tokendrop.engine.linear import linear, linears
from tokendrop.engine.packed import Batch
from tokendrop.engine.positions import RelativeBias
from tokendrop.families.bert import Roberta, behind_padding, by_head, dropped

PADDING = 1  # the model's, whatever pad_token_id its configuration names


class MPNet(Roberta):
    """MPNet: no token types, other names, and RoBERTa's head."""

    padded_attention = "eager"  # Hugging Face has nothing else
    # it looks up among as many whatever the configuration says
    required = Roberta.required | {"relative_attention_num_buckets": 32}

    def positions(self, config: Any) -> int:
        return config.max_position_embeddings - PADDING - 1

    def position_ids(self, config: Any, batch: Batch) -> Tensor:
        return behind_padding(batch, PADDING)

    def embed(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        places = self.position_ids(model.config, batch)
        embeddings = self.base(model).embeddings(batch.input_ids[None], position_ids=places[None])
        return embeddings[0]

    def relative(self, model: PreTrainedModel, batch: Batch) -> RelativeBias | None:
        encoder, reach = self.base(model).encoder, max(batch.spans)
        distances = torch.arange(-reach, reach + 1, device=batch.positions.device)
        bucket = encoder.relative_position_bucket(distances).int()
        return RelativeBias(encoder.relative_attention_bias.weight.T.contiguous(), bucket, batch)

    def projections(self, layer: Any) -> list[nn.Linear]:
        attention = layer.attention.attn
        return [attention.q, attention.k, attention.v]

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projections = linears(self.projections(layer), hidden)
        return by_head(projections, layer.attention.attn.num_attention_heads)

    def attention_dropout(self, layer: Any) -> float:
        return layer.attention.attn.dropout.p

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        attention = layer.attention
        projected = dropped(attention.dropout, linear(attention.attn.o, context))
        return attention.LayerNorm(projected + residual)
