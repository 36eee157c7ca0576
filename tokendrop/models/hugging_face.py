"""A tokendrop model as one of Hugging Face's, for its pipelines, evaluation loops and Auto classes.

A model folder is a plain checkpoint, so ``AutoModelForSequenceClassification`` gives the plain
model. The folder ``reducer`` inside it has a configuration of its own, of type "tokendrop", by
which the same class gives the model that drops tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.models.model import MODEL_TYPE, TokenDropModel, load
from tokendrop.models.placing import DTYPES
from tokendrop.tasks import IGNORED

# what Auto classes pass to every model, beside the caller's own options
OF_AUTO_CLASSES = {"config", "trust_remote_code", "adapter_kwargs", "_from_auto", "_commit_hash"}


class TokenDropConfig(PreTrainedConfig):
    """What Hugging Face's classes need to know: the type, and the names of the classes."""

    model_type = MODEL_TYPE


class TokenDropForSequenceClassification(PreTrainedModel):
    """A tokendrop model that takes padded batches and answers as Hugging Face's models do.

    It is for inference; methods are trained by ``tokendrop fit``.
    """

    config_class = TokenDropConfig
    main_input_name = "input_ids"

    def __init__(self, model: TokenDropModel) -> None:
        """
        Args:
            model: what runs; nothing is copied.
        """
        names = dict(enumerate(model.labels))
        config = TokenDropConfig(id2label=names, label2id={v: k for k, v in names.items()})
        super().__init__(config)
        self.model = model

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: str | Path, *, subfolder: str = "", **given: Any
    ) -> TokenDropForSequenceClassification:
        """Load a model folder or a Hub model; called by ``AutoModelForSequenceClassification``.

        Args:
            name: see :func:`tokendrop.load`.
            subfolder: where the Auto class found this class's configuration.
            given: changes to the reducer's ``operating_arguments``; ``device`` and ``dtype`` of
                :func:`tokendrop.load`, the latter also as torch's type.

        Raises:
            UserError: as :func:`tokendrop.load`, e.g. for an option of Hugging Face's own models
                that would do nothing here.
        """
        point = {k: v for k, v in given.items() if v is not None and k not in OF_AUTO_CLASSES}
        if "dtype" in point:
            names = {dtype: name for name, dtype in DTYPES.items()}
            point["dtype"] = names.get(point["dtype"], str(point["dtype"]))
        model = cls(load(name, **point))
        return model.train(False)

    def save_pretrained(  # type: ignore[override]
        self, folder: str | Path, **_: Any
    ) -> None:
        """Write a model folder, see :meth:`tokendrop.TokenDropModel.save_pretrained`."""
        self.model.save_pretrained(folder)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Classify a padded batch: padding is taken off, then tokens are dropped.

        Args:
            input_ids: (B, N) token ids.
            attention_mask: (B, N) 1 at tokens, 0 at padding on either side; by default no padding.
            token_type_ids: (B, N), by default 0.
            labels: (B,) for the loss: classes, with -100 where none is scored; or numbers for a
                regression.

        Raises:
            UserError: a row is longer than the model reads, or labels that do not fit.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        longest, limit = int(mask.sum(1).max()), self.model.shape.max_tokens
        if longest > limit:
            raise UserError(
                f"a row has {longest} tokens but this model reads at most {limit}: let the "
                f"tokenizer cut it, with truncation=True and max_length={limit}"
            )
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids

        def rows(values: Tensor) -> list[list[int]]:
            return [row[real].tolist() for row, real in zip(values, mask.bool(), strict=True)]

        batch = Batch.pack(rows(input_ids), rows(types)).to(input_ids.device)
        logits = self.model(batch).logits
        loss = None if labels is None else _loss(logits, labels.to(logits.device))
        return SequenceClassifierOutput(loss=loss, logits=logits)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """That of Hugging Face's own classes: cross-entropy, or the squared error of one output."""
    rows, classes = logits.shape
    if labels.shape not in ((rows,), (rows, 1)):
        raise UserError(
            f"labels have the shape {tuple(labels.shape)}, but there are {rows} rows: give each "
            "row one label"
        )
    labels = labels.reshape(rows)
    if classes == 1:
        return F.mse_loss(logits.squeeze(1), labels.to(logits.dtype))
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise UserError(
            f"labels are {labels.dtype}, but this model has {classes} classes: give integers from "
            f"0 to {classes - 1}"
        )
    strange = labels[(labels != IGNORED) & ((labels < 0) | (labels >= classes))]
    if len(strange):
        raise UserError(
            f"label {int(strange[0])} is none of the {classes} classes of this model: give "
            f"integers from 0 to {classes - 1}"
        )
    return F.cross_entropy(logits, labels.long(), ignore_index=IGNORED)


def register() -> None:
    """Make tokendrop models known to ``AutoConfig`` and ``AutoModelForSequenceClassification``.

    After this, ``AutoModelForSequenceClassification.from_pretrained(folder, subfolder="reducer")``
    gives the model that drops tokens. Calling it again does nothing.
    """
    AutoConfig.register(MODEL_TYPE, TokenDropConfig, exist_ok=True)
    AutoModelForSequenceClassification.register(
        TokenDropConfig, TokenDropForSequenceClassification, exist_ok=True
    )
