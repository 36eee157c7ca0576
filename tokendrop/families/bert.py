"""BERT, which is what a family is made of, and the architectures that differ from it in few parts:
DistilBERT, RoBERTa, ELECTRA and ALBERT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from tokendrop.engine.dropout import dropout
from tokendrop.engine.layout import Layout
from tokendrop.engine.linear import linear, linears
from tokendrop.engine.packed import Batch
from tokendrop.engine.positions import RelativeBias, SlidingWindow
from tokendrop.errors import UserError


class Rotary(Protocol):
    """Positions that are not in the embeddings but turn queries and keys, for one batch."""

    def turn(self, layer: Any, query: Tensor, key: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Query and key of (T, heads, head size), turned by their tokens' original positions.

        Both may have more rows than the layout has tokens; those come back with any values.
        """


class Family:
    """BERT and whatever names its parts alike (MiniLM). The base of the other families.

    Attributes:
        gated: whether the feed-forward part multiplies by a gate, a third matrix.
        padded_attention: how attention of the plain padded model runs, by Hugging Face's name.
        required: settings of a configuration that must have this value where they are given.
    """

    gated: ClassVar[bool] = False
    padded_attention: ClassVar[str] = "sdpa"
    required: ClassVar[dict[str, Any]] = {
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    }

    def check(self, config: PretrainedConfig) -> None:
        """Refuse what would be computed wrongly.

        Raises:
            UserError: the configuration switches on something that is not described here.
        """
        for name, wanted in self.required.items():
            found = getattr(config, name, None)
            if found is not None and found != wanted:
                raise UserError(
                    f"a backbone of type {config.model_type!r} with {name} {found!r} in its "
                    f"configuration is not supported, only with {wanted!r}: choose another one"
                )

    def base(self, model: PreTrainedModel) -> Any:
        return model.base_model

    def positions(self, config: Any) -> int:
        """The longest row that the backbone has position embeddings for."""
        return config.max_position_embeddings

    def projected_embedding(self, config: Any) -> int:
        """The width of the embeddings where a matrix widens them to the hidden size, else 0."""
        return 0

    def layers(self, model: PreTrainedModel) -> list[Any]:
        """The layers in the order in which they run; shared ones occur more than once."""
        return list(self.base(model).encoder.layer)

    def embed(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """(T, hidden) embedding output, its LayerNorm and dropout included."""
        types = batch.token_type_ids
        # some tokenizers mark the second text for a backbone that knows but one type
        if model.config.type_vocab_size == 1:
            types = torch.zeros_like(types)
        embeddings = self.base(model).embeddings(
            input_ids=batch.input_ids[None],
            token_type_ids=types[None],
            position_ids=self.position_ids(model.config, batch)[None],
        )
        return embeddings[0]

    def position_ids(self, config: Any, batch: Batch) -> Tensor:
        """(T,) rows of the position embeddings."""
        return batch.positions

    def rotary(self, model: PreTrainedModel, batch: Batch) -> Rotary | None:
        """How queries and keys of this batch are turned, where positions are rotary."""
        return None

    def relative(self, model: PreTrainedModel, batch: Batch) -> RelativeBias | None:
        """What all layers add to attention for the distances of this batch, if they do."""
        return None

    def projections(self, layer: Any) -> list[nn.Linear]:
        """The linear layers that make query, key and value."""
        attention = layer.attention.self
        return [attention.query, attention.key, attention.value]

    def linear_groups(self, layer: Any) -> list[list[nn.Linear]]:
        """All linear layers of a layer; those of a group read the same states."""
        projections = self.projections(layer)
        known = set(projections)
        others = (x for x in layer.modules() if isinstance(x, nn.Linear) and x not in known)
        return [projections, *([other] for other in others)]

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each (T, heads, head size), not yet turned."""
        projections = linears(self.projections(layer), hidden)
        return by_head(projections, layer.attention.self.num_attention_heads)

    def window(self, layer: Any, batch: Batch, layout: Layout) -> SlidingWindow | None:
        """What a query sees, where that is less than its row."""
        return None

    def attention_dropout(self, layer: Any) -> float:
        return layer.attention.self.dropout.p

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        """Output projection, dropout, residual and LayerNorm of the attention sub-layer."""
        output = layer.attention.output
        projected = dropped(output.dropout, linear(output.dense, context))
        return output.LayerNorm(projected + residual)

    def feed_forward(self, layer: Any, hidden: Tensor) -> Tensor:
        """The feed-forward sub-layer with its residual and LayerNorm."""
        inner, output = layer.intermediate, layer.output
        widened = inner.intermediate_act_fn(linear(inner.dense, hidden))
        return output.LayerNorm(dropped(output.dropout, linear(output.dense, widened)) + hidden)

    def pool(self, model: Any, states: Tensor, layout: Layout) -> Tensor:
        """What :meth:`classify` reads of the states that left the last layer: (R, hidden)."""
        return states[layout.first]

    def pooler(self, model: Any) -> Any:
        """The linear layer of the encoder's own tanh pooler, None where it has none."""
        pooler = getattr(self.base(model), "pooler", None)
        return getattr(pooler, "dense", pooler)

    def classify(self, model: Any, first: Tensor) -> Tensor:
        """(B, classes) logits of the sequence classification head, of (B, hidden) [CLS] states."""
        pooled = self.base(model).pooler(first[:, None])
        return model.classifier(model.dropout(pooled))

    def read_tokens(self, model: Any, states: Tensor) -> Tensor:
        """Logits of a token classification or question answering model.

        Args:
            model: ``...ForTokenClassification`` or ``...ForQuestionAnswering``.
            states: (T, hidden) that left the last layer.

        Returns:
            (T, classes), or (T, 2) for the start and the end of an answer.
        """
        head = model.qa_outputs if hasattr(model, "qa_outputs") else model.classifier
        # BERT answers questions without dropout, DistilBERT with it
        return head(model.dropout(states) if hasattr(model, "dropout") else states)

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

    def projections(self, layer: Any) -> list[nn.Linear]:
        return [layer.attention.q_lin, layer.attention.k_lin, layer.attention.v_lin]

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projections = linears(self.projections(layer), hidden)
        return by_head(projections, layer.attention.n_heads)

    def attention_dropout(self, layer: Any) -> float:
        return layer.attention.dropout.p

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        return layer.sa_layer_norm(linear(layer.attention.out_lin, context) + residual)

    def feed_forward(self, layer: Any, hidden: Tensor) -> Tensor:
        inner = layer.ffn
        widened = inner.activation(linear(inner.lin1, hidden))
        return layer.output_layer_norm(dropped(inner.dropout, linear(inner.lin2, widened)) + hidden)

    def classify(self, model: Any, first: Tensor) -> Tensor:
        pooled = torch.relu(model.pre_classifier(first))
        return model.classifier(model.dropout(pooled))


class Roberta(Family):
    """RoBERTa, XLM-RoBERTa and CamemBERT: positions behind the padding's, a head of their own."""

    def positions(self, config: Any) -> int:
        return config.max_position_embeddings - config.pad_token_id - 1

    def position_ids(self, config: Any, batch: Batch) -> Tensor:
        return behind_padding(batch, config.pad_token_id)

    def classify(self, model: Any, first: Tensor) -> Tensor:
        return model.classifier(first[:, None])


class Electra(Family):
    """ELECTRA: embeddings may be narrower than the layers, and a head of its own."""

    def projected_embedding(self, config: Any) -> int:
        return 0 if config.embedding_size == config.hidden_size else config.embedding_size

    def embed(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        embeddings, base = super().embed(model, batch), self.base(model)
        if self.projected_embedding(model.config):
            return base.embeddings_project(embeddings)
        return embeddings

    def classify(self, model: Any, first: Tensor) -> Tensor:
        return model.classifier(first[:, None])


class Albert(Family):
    """ALBERT: layers that share their weights, narrow embeddings, other names."""

    required = Family.required | {"inner_group_num": 1}

    def projected_embedding(self, config: Any) -> int:
        return config.embedding_size

    def layers(self, model: PreTrainedModel) -> list[Any]:
        config: Any = model.config
        groups = self.base(model).encoder.albert_layer_groups
        each = config.num_hidden_layers / config.num_hidden_groups
        return [groups[int(i / each)].albert_layers[0] for i in range(config.num_hidden_layers)]

    def embed(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        return self.base(model).encoder.embedding_hidden_mapping_in(super().embed(model, batch))

    def projections(self, layer: Any) -> list[nn.Linear]:
        return [layer.attention.query, layer.attention.key, layer.attention.value]

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        projections = linears(self.projections(layer), hidden)
        return by_head(projections, layer.attention.num_attention_heads)

    def attention_dropout(self, layer: Any) -> float:
        return layer.attention.attention_dropout.p

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        attention = layer.attention
        projected = dropped(attention.output_dropout, linear(attention.dense, context))
        return attention.LayerNorm(projected + residual)

    def feed_forward(self, layer: Any, hidden: Tensor) -> Tensor:
        widened = layer.activation(linear(layer.ffn, hidden))
        return layer.full_layer_layer_norm(linear(layer.ffn_output, widened) + hidden)

    def classify(self, model: Any, first: Tensor) -> Tensor:
        base = self.base(model)
        pooled = base.pooler_activation(base.pooler(first))
        return model.classifier(model.dropout(pooled))


def behind_padding(batch: Batch, padding: int) -> Tensor:
    """(T,) rows of position embeddings that begin behind the padding's own.

    A text may hold the padding token, as a word: it has the padding's row and takes no place.
    """
    places, written = batch.positions, batch.input_ids == padding
    every, held = (x.cumsum(0) for x in (torch.ones_like(places), written.long()))
    first = every - 1 - places  # of the row of each
    before = held - (held - written.long()).index_select(0, first)
    return (places + (padding + 1) - before).masked_fill(written, padding)


def dropped(module: Any, states: Tensor) -> Tensor:
    return dropout(states, module.p, module.training)


def by_head(projections: Sequence[Tensor], heads: int) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = (states.view(states.shape[0], heads, -1) for states in projections)
    return query, key, value
