"""Where each architecture keeps the parts that the encoder loop walks.

A family reads an *unmodified* Hugging Face model. The loop never asks which family it has: another
architecture is another entry in :data:`FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from tokendrop.dropout import dropout
from tokendrop.errors import UserError
from tokendrop.linear import linear, linears
from tokendrop.packed import Batch


class Family:
    """BERT and whatever names its parts alike (MiniLM). The base of the other families."""

    def base(self, model: PreTrainedModel) -> Any:
        return model.base_model

    def positions(self, config: Any) -> int:
        """The longest row that the backbone has position embeddings for."""
        return config.max_position_embeddings

    def layers(self, model: PreTrainedModel) -> list[Any]:
        return list(self.base(model).encoder.layer)

    def embed(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """(T, hidden) embedding output, its LayerNorm and dropout included."""
        embeddings = self.base(model).embeddings(
            input_ids=batch.input_ids[None],
            token_type_ids=batch.token_type_ids[None],
            position_ids=batch.positions[None],
        )
        return embeddings[0]

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each (T, heads, head size)."""
        attention = layer.attention.self
        projections = linears([attention.query, attention.key, attention.value], hidden)
        return _by_head(projections, attention.num_attention_heads)

    def attention_dropout(self, layer: Any) -> float:
        return layer.attention.self.dropout.p

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        """Output projection, dropout, residual and LayerNorm of the attention sub-layer."""
        output = layer.attention.output
        projected = _dropped(output.dropout, linear(output.dense, context))
        return output.LayerNorm(projected + residual)

    def feed_forward(self, layer: Any, hidden: Tensor) -> Tensor:
        """The feed-forward sub-layer with its residual and LayerNorm."""
        inner, output = layer.intermediate, layer.output
        widened = inner.intermediate_act_fn(linear(inner.dense, hidden))
        return output.LayerNorm(_dropped(output.dropout, linear(output.dense, widened)) + hidden)

    def classify(self, model: Any, first: Tensor) -> Tensor:
        """(B, classes) logits of a sequence classification head from (B, hidden) [CLS] states."""
        pooled = self.base(model).pooler(first[:, None])
        return model.classifier(model.dropout(pooled))

    def read_tokens(self, model: Any, states: Tensor) -> Tensor:
        """(T, outputs) logits of a head that reads every token, from (T, hidden) states."""
        if hasattr(model, "qa_outputs"):
            return model.qa_outputs(states)
        return model.classifier(model.dropout(states))

    def head_flops(self, config: PretrainedConfig) -> int:
        """FLOPs of :meth:`classify` for one row."""
        return 2 * config.hidden_size * (config.hidden_size + config.num_labels)

    def token_head_flops(self, config: PretrainedConfig) -> int:
        """FLOPs of :meth:`read_tokens` for one token."""
        return 2 * config.hidden_size * config.num_labels


class DistilBert(Family):
    """DistilBERT: no token types, no pooler, other names."""

    def layers(self, model: PreTrainedModel) -> list[Any]:
        return list(self.base(model).transformer.layer)

    def embed(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        embeddings = self.base(model).embeddings(
            batch.input_ids[None], position_ids=batch.positions[None]
        )
        return embeddings[0]

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attention = layer.attention
        projections = linears([attention.q_lin, attention.k_lin, attention.v_lin], hidden)
        return _by_head(projections, attention.n_heads)

    def attention_dropout(self, layer: Any) -> float:
        return layer.attention.dropout.p

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        return layer.sa_layer_norm(linear(layer.attention.out_lin, context) + residual)

    def feed_forward(self, layer: Any, hidden: Tensor) -> Tensor:
        inner = layer.ffn
        widened = inner.activation(linear(inner.lin1, hidden))
        return layer.output_layer_norm(
            _dropped(inner.dropout, linear(inner.lin2, widened)) + hidden
        )

    def classify(self, model: Any, first: Tensor) -> Tensor:
        pooled = torch.relu(model.pre_classifier(first))
        return model.classifier(model.dropout(pooled))


def _dropped(module: Any, states: Tensor) -> Tensor:
    return dropout(states, module.p, module.training)


def _by_head(projections: Sequence[Tensor], heads: int) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (states.view(states.shape[0], heads, -1) for states in projections)
    return query, key, value


FAMILIES: dict[str, Family] = {"bert": Family(), "distilbert": DistilBert()}


def family_of(model: PreTrainedModel) -> Family:
    """The family of a Hugging Face model; see :func:`family_of_type`."""
    return family_of_type(str(model.config.model_type))


def family_of_type(kind: str) -> Family:
    """The family of an architecture by its ``model_type``.

    Raises:
        UserError: nobody has described this architecture yet.
    """
    if kind not in FAMILIES:
        raise UserError(
            f"backbones of type {kind!r} are not supported: choose a model of one of the types "
            f"{', '.join(sorted(FAMILIES))}, or describe its parts in tokendrop/families.py"
        )
    return FAMILIES[kind]
