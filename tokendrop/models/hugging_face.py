"""A tokendrop model as one of Hugging Face's, for its pipelines, evaluation loops and Auto classes.

A model folder is a plain checkpoint, so ``AutoModelForSequenceClassification`` gives the plain
model. The folder ``reducer`` inside it has a configuration of its own, of type "tokendrop", by
which the same class gives the model that drops tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import (
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils.generic import ModelOutput

from tokendrop.errors import UserError
from tokendrop.heads import CLASS, SPAN, TAG, head_of
from tokendrop.models import hub
from tokendrop.models.auto_options import check_config, hub_options, load_options, refuse
from tokendrop.models.model import MODEL_TYPE, TokenDropModel, load
from tokendrop.models.padded_rows import check_shape, loss_of, span_loss, unpadded

log = logging.getLogger(__name__)

T = TypeVar("T", bound=ModelOutput)


class TokenDropConfig(PreTrainedConfig):
    """What Hugging Face's classes need to know: the type, and the names of the classes."""

    model_type = MODEL_TYPE


class _Dropping(PreTrainedModel):
    """A tokendrop model that takes padded batches and answers as Hugging Face's models do.

    It is for inference; methods are trained by ``tokendrop fit``. What trains it, such as Hugging
    Face's Trainer, trains its weights by the task's loss alone, which is said.

    Attributes:
        suffix: the end of the name of Hugging Face's classes with its head.
    """

    config_class = TokenDropConfig
    main_input_name = "input_ids"
    suffix: ClassVar[str]
    # its losses are means, which Hugging Face's Trainer is not to take for sums
    accepts_loss_kwargs = False

    def __init__(self, model: TokenDropModel) -> None:
        """
        Args:
            model: what runs; nothing is copied.

        Raises:
            UserError: it has another head, or is a configuration, which holds no weights.
        """
        if not isinstance(model, TokenDropModel):
            raise UserError(
                f"a {type(self).__name__} is made of a trained model, not of a "
                f"{type(model).__name__}: use from_pretrained with the model's folder"
            )
        head = head_of(model.backbone)
        if head.suffix != self.suffix:
            raise UserError(
                f"AutoModel{self.suffix} does not fit a {type(model.backbone).__name__}: use "
                f"{head.auto.__name__}"
            )
        names = dict(enumerate(model.labels))
        config = TokenDropConfig(
            id2label=names,
            label2id={v: k for k, v in names.items()},
            # by it pipelines tell a number from the logit of a class
            problem_type=model.backbone.config.problem_type,
        )
        super().__init__(config)
        self.model = model
        self.register_load_state_dict_pre_hook(_refuse_plain)  # type: ignore[no-untyped-call]

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, name: str | Path, *, subfolder: str = "", **given: Any
    ) -> Self:
        """Load a model folder or a Hub model; called by the Auto class.

        Args:
            name: see :func:`tokendrop.load`.
            subfolder: where the Auto class found this class's configuration.
            given: changes to the reducer's ``operating_arguments``; ``device`` and ``dtype`` of
                :func:`tokendrop.load`, also by Hugging Face's names: torch's type, or "auto" for
                fp32, and ``device_map``; and by what a model of the Hub is found there
                (``revision``, ``token``, ``cache_dir``, ``local_files_only``, ...).

        Raises:
            UserError: as :func:`tokendrop.load`, e.g. for an option of Hugging Face's own models
                that would do nothing here; or another head than the class's.
        """
        folder = hub.model_folder(name, **hub_options(given))
        found = cls(load(folder, **load_options(given))).train(False)
        # the Auto class has put there what it was given for the configuration
        check_config(given.get("config"), found.config.id2label or {})
        return found

    def save_pretrained(  # type: ignore[override]
        self, folder: str | Path, **_: Any
    ) -> None:
        """Write a model folder, see :meth:`tokendrop.TokenDropModel.save_pretrained`."""
        self.model.save_pretrained(folder)

    @cached_property
    def _has_stages(self) -> bool:
        """Whether its method has a recipe, which does not change from pass to pass."""
        return bool(self.model.reducer.stages())

    def _run(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        token_type_ids: Tensor | None,
        given: Mapping[str, Any],
    ) -> tuple[Tensor, Tensor]:
        """Logits of a padded batch whose padding is taken off, and where it has tokens, (B, N).

        Raises:
            UserError: as :func:`unpadded`, or something is given that does nothing.
        """
        if self.training and torch.is_grad_enabled() and self._has_stages:
            _warn_of_its_loss(type(self.model.reducer).__name__)
        unused = (k for k, v in given.items() if v is not None and v is not False)
        refuse(set(unused) - {"return_dict"})
        limit, device = self.model.shape.max_tokens, input_ids.device
        config = self.model.backbone.config
        batch, there = unpadded(input_ids, attention_mask, token_type_ids, limit, config)
        return self.model(batch.to(device)).logits, there.to(device)


@cache
def _warn_of_its_loss(method: str) -> None:
    log.warning(
        "%s is trained by the task's loss alone here, without the further losses and stages that "
        "its method has: tokendrop fit trains it whole",
        method,
    )


def _refuse_plain(_: nn.Module, state: Mapping[str, Any], prefix: str, *__: Any) -> None:
    if not any(name.startswith(f"{prefix}model.") for name in state):
        raise UserError(
            "these weights are of the plain model, without the reducer's: use from_pretrained with "
            "their folder, which Trainer's load_best_model_at_end and resume_from_checkpoint do not"
        )


class TokenDropForSequenceClassification(_Dropping):
    """A classifier, or a regressor, of texts; made by ``AutoModelForSequenceClassification``."""

    suffix = CLASS.suffix

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **given: Any,
    ) -> SequenceClassifierOutput:
        """Classify a padded batch: padding is taken off, then tokens are dropped.

        Args:
            input_ids: (B, N) token ids.
            attention_mask: (B, N) 1 at tokens, 0 at padding on either side; by default no padding.
            token_type_ids: (B, N), by default 0.
            labels: (B,) for the loss: classes, with -100 where none is scored; or numbers for a
                regression.
            given: ``return_dict``; no other input does anything here.

        Raises:
            UserError: a row that is too long, labels that do not fit, or another input.
        """
        logits, _there = self._run(input_ids, attention_mask, token_type_ids, given)
        loss = None if labels is None else loss_of(logits, labels.to(logits.device))
        return _as_asked(SequenceClassifierOutput(loss=loss, logits=logits), given)


class TokenDropForTokenClassification(_Dropping):
    """A tagger; made by ``AutoModelForTokenClassification``."""

    suffix = TAG.suffix

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **given: Any,
    ) -> TokenClassifierOutput:
        """Tag the tokens of a padded batch; dropped ones are put back with their last state.

        Args:
            input_ids: (B, N) token ids.
            attention_mask: (B, N) 1 at tokens, 0 at padding on either side; by default no padding.
            token_type_ids: (B, N), by default 0.
            labels: (B, N) for the loss, with -100 where none is scored; never at padding.
            given: ``return_dict``; no other input does anything here.

        Returns:
            logits (B, N, classes), 0 at padding.

        Raises:
            UserError: a row that is too long, labels that do not fit, or another input.
        """
        found, there = self._run(input_ids, attention_mask, token_type_ids, given)
        check_shape("labels", labels, there.shape)
        logits = found.new_zeros(*there.shape, found.shape[1])
        logits[there] = found
        loss = None if labels is None else loss_of(found, labels.to(found.device)[there])
        return _as_asked(TokenClassifierOutput(loss=loss, logits=logits), given)


class TokenDropForQuestionAnswering(_Dropping):
    """A reader that finds the answer in a context; made by ``AutoModelForQuestionAnswering``."""

    suffix = SPAN.suffix

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **given: Any,
    ) -> QuestionAnsweringModelOutput:
        """Where in a padded batch of questions and contexts the answers begin and end.

        Args:
            input_ids: (B, N) token ids.
            attention_mask: (B, N) 1 at tokens, 0 at padding on either side; by default no padding.
            token_type_ids: (B, N), by default 0.
            start_positions: (B,) where the answers begin, for the loss; rows with a place beyond N
                are left out.
            end_positions: (B,) where they end.
            given: ``return_dict``; no other input does anything here.

        Returns:
            start and end logits, (B, N) each, the lowest number at padding.

        Raises:
            UserError: a row that is too long, places that do not fit, or another input.
        """
        found, there = self._run(input_ids, attention_mask, token_type_ids, given)
        logits = found.new_full((2, *there.shape), torch.finfo(found.dtype).min)
        logits[:, there] = found.T
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = span_loss(logits, start_positions, end_positions)
        answer = QuestionAnsweringModelOutput(loss, start_logits=logits[0], end_logits=logits[1])
        return _as_asked(answer, given)


def _as_asked(found: T, given: Mapping[str, Any]) -> T:
    """The output, or with ``return_dict`` false the tuple that Hugging Face's models give then."""
    return cast(T, found.to_tuple()) if given.get("return_dict") is False else found


def register() -> None:
    """Make tokendrop models known to Hugging Face's Auto classes for texts, tags and questions.

    After this, ``AutoModelForSequenceClassification.from_pretrained(folder, subfolder="reducer")``
    gives the model that drops tokens, and so do the classes for token classification and question
    answering. Calling it again does nothing.
    """
    AutoConfig.register(MODEL_TYPE, TokenDropConfig, exist_ok=True)
    for head, made in (
        (CLASS, TokenDropForSequenceClassification),
        (TAG, TokenDropForTokenClassification),
        (SPAN, TokenDropForQuestionAnswering),
    ):
        head.auto.register(TokenDropConfig, made, exist_ok=True)
