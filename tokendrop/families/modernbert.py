"""ModernBERT: pre-norm, rotary positions, sliding windows and a gated feed-forward part."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from tokendrop.engine.by_row import row_sum
from tokendrop.engine.dropout import dropout
from tokendrop.engine.layout import Layout
from tokendrop.engine.linear import linear, with_room
from tokendrop.engine.packed import Batch
from tokendrop.engine.positions import SlidingWindow
from tokendrop.errors import UserError
from tokendrop.families.bert import Family

# these turn by the longest row of a batch, so that a row's answer would depend on the others
UNSTEADY = ("dynamic", "longrope")


class ModernBert(Family):
    """ModernBERT. Windows and rotary positions count the tokens of the row as it came in."""

    gated = True

    def check(self, config: PretrainedConfig) -> None:
        super().check(config)
        kinds = {rope["rope_type"] for rope in config.rope_parameters.values()}
        for kind in kinds.intersection(UNSTEADY):
            raise UserError(
                f"a backbone of type {config.model_type!r} with rope_type {kind!r} in its "
                "configuration is not supported: a row's answer would depend on its batch; choose "
                "another one"
            )

    def layers(self, model: PreTrainedModel) -> list[Any]:
        return list(self.base(model).layers)

    def embed(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        return self.base(model).embeddings(batch.input_ids)

    def rotary(self, model: PreTrainedModel, batch: Batch) -> Turns:
        return Turns(self.base(model), batch)

    def projections(self, layer: Any) -> list[nn.Linear]:
        return [layer.attn.Wqkv]

    def project(self, layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        attention = layer.attn
        projected = linear(attention.Wqkv, layer.attn_norm(hidden))
        query, key, value = projected.view(len(hidden), 3, -1, attention.head_dim).unbind(1)
        return query, key, value

    def window(self, layer: Any, batch: Batch, layout: Layout) -> SlidingWindow | None:
        if layer.attention_type != "sliding_attention":
            return None
        return SlidingWindow.of(layer.config.sliding_window, batch, layout)

    def attention_dropout(self, layer: Any) -> float:
        return layer.attn.attention_dropout

    def close_attention(self, layer: Any, context: Tensor, residual: Tensor) -> Tensor:
        attention = layer.attn
        projected = linear(attention.Wo, context)
        return dropout(projected, attention.attention_dropout, attention.training) + residual

    def feed_forward(self, layer: Any, hidden: Tensor) -> Tensor:
        inner = layer.mlp
        widened, gate = linear(inner.Wi, layer.mlp_norm(hidden)).chunk(2, dim=-1)
        gated = dropout(inner.act(widened) * gate, inner.drop.p, inner.training)
        return linear(inner.Wo, gated) + hidden

    def pool(self, model: Any, states: Tensor, layout: Layout) -> Tensor:
        """[CLS], or with ``classifier_pooling`` "mean" the mean of the row's live tokens."""
        norm = self.base(model).final_norm
        if model.config.classifier_pooling == "cls":
            return norm(states[layout.first])
        normed = norm(states[: len(layout.tokens)])
        return (row_sum(normed.float(), layout) / layout.sizes[:, None]).to(normed.dtype)

    def classify(self, model: Any, first: Tensor) -> Tensor:
        return model.classifier(model.drop(model.head(first)))

    def read_tokens(self, model: Any, states: Tensor) -> Tensor:
        return self.classify(model, self.base(model).final_norm(states))

    def token_head_flops(self, config: PretrainedConfig) -> int:
        return self.head_flops(config)


class Turns:
    """Cosines and sines of a batch's positions, for each kind of layer."""

    def __init__(self, base: Any, batch: Batch) -> None:
        self._base = base
        self._batch = batch
        # by the kind of layer, the present layout's
        self._known: dict[str, tuple[Layout, int, Tensor, Tensor]] = {}

    def turn(self, layer: Any, query: Tensor, key: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        cosine, sine = self._at(layer.attention_type, layout, len(query))
        return _turned(query, cosine, sine), _turned(key, cosine, sine)

    def _at(self, kind: str, layout: Layout, rows: int) -> tuple[Tensor, Tensor]:
        """(rows, 1, head size) of the live tokens; the same until some are dropped."""
        known = self._known.get(kind)
        if known is None or known[0] is not layout or known[1] != rows:
            places = self._batch.positions.index_select(0, layout.tokens)
            places = with_room(places, rows - len(places))
            # for its device and precision; the FLOP counter takes no leaf in inference mode
            like = self._base.embeddings.tok_embeddings.weight.detach()
            cosine, sine = (x[0, :, None] for x in self._base.rotary_emb(like, places[None], kind))
            # the halves of a head change places in a turn, and one of them its sign
            half = sine.shape[-1] // 2
            sine = torch.cat((-sine[..., :half], sine[..., half:]), -1)
            known = self._known[kind] = (layout, rows, cosine, sine)
        return known[2], known[3]


def _turned(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    full = states.float()
    turned = torch.addcmul(full * cosine, full.roll(full.shape[-1] // 2, -1), sine)
    return turned.to(states.dtype)
