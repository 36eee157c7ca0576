"""Padded rows and labels as Hugging Face's models are given them: checked, without the padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedConfig

from tokendrop.engine.packed import Batch
from tokendrop.errors import UserError
from tokendrop.tasks import IGNORED


def unpadded(
    input_ids: Tensor,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    limit: int,
    config: PreTrainedConfig,
) -> tuple[Batch, Tensor]:
    """A padded batch without its padding, on the processor.

    Args:
        input_ids: (B, N) token ids.
        attention_mask: (B, N) 1 at tokens, 0 at padding on either side; None for no padding.
        token_type_ids: (B, N), None for 0.
        limit: longest row in tokens.
        config: of the backbone, which counts its embeddings.

    Returns:
        the packed batch, and where the rows have tokens, (B, N).

    Raises:
        UserError: tensors of other shapes; a mask of other numbers, or with a 0 between two tokens;
            a row without a token, or one that is too long; ids that the backbone has not.
    """
    if input_ids.dim() != 2 or not len(input_ids):
        raise UserError(
            f"input_ids have the shape {tuple(input_ids.shape)}: give one row at least, as rows x "
            "tokens"
        )
    check_shape("attention_mask", attention_mask, input_ids.shape)
    check_shape("token_type_ids", token_type_ids, input_ids.shape)
    ids = input_ids.cpu()
    mask = torch.ones_like(ids) if attention_mask is None else attention_mask.cpu()
    types = torch.zeros_like(ids) if token_type_ids is None else token_type_ids.cpu()
    there = mask.bool()
    if (there != mask).any():
        raise UserError(
            f"attention_mask has the number {mask[there != mask][0].item():g}: give 1 at tokens "
            "and 0 at padding"
        )
    lengths = there.sum(1)
    if not lengths.all():
        raise UserError(
            f"{_row(lengths == 0)} has no token, its attention_mask is 0 everywhere: leave it out"
        )
    begins = there.int().diff(prepend=torch.zeros(len(ids), 1, dtype=torch.int)) == 1
    if (holes := begins.sum(1) > 1).any():
        # taken off as padding is, it would move the positions of the tokens behind it
        raise UserError(
            f"the attention_mask of {_row(holes)} has a 0 between its tokens, and padding is only "
            "known before and behind them: take the token out of the row, or let it be seen"
        )
    if (longest := int(lengths.max())) > limit:
        raise UserError(
            f"a row has {longest} tokens but this model reads at most {limit}: let the "
            f"tokenizer cut it, with truncation=True and max_length={limit}, or in a pipeline for "
            f"tags, which takes neither, with model_max_length={limit}"
        )
    check_ids("input_ids", ids, there, config.vocab_size)
    # with a single type, or none, a backbone does not look at them
    if (kinds := getattr(config, "type_vocab_size", 0)) > 1:
        check_ids("token_type_ids", types, there, kinds)

    def rows(values: Tensor) -> list[list[int]]:
        return [row[real].tolist() for row, real in zip(values, there, strict=True)]

    return Batch.pack(rows(ids), rows(types)), there


def check_ids(name: str, ids: Tensor, there: Tensor, count: int) -> None:
    """
    Raises:
        UserError: not whole numbers, or one at a token that the backbone has no embedding for.
    """
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise UserError(f"{name} are {ids.dtype}: give the integers that the tokenizer makes")
    wrong = there & ((ids < 0) | (ids >= count))
    if wrong.any():
        raise UserError(
            f"{name} of {_row(wrong.any(1))} have {int(ids[wrong][0])}, but this model knows 0 to "
            f"{count - 1}: use the tokenizer that lies beside it"
        )


def check_shape(name: str, values: Tensor | None, shape: Sequence[int]) -> None:
    """
    Raises:
        UserError: a tensor that is given has another shape than the rows ask for.
    """
    if values is not None and values.shape != shape:
        raise UserError(
            f"{name} has the shape {tuple(values.shape)} but the input_ids ask for {tuple(shape)}: "
            "make both of the same rows"
        )


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """That of Hugging Face's own classes: cross-entropy, or the squared error of one output.

    Args:
        logits: (R, classes).
        labels: (R,) or (R, 1): classes, with -100 where none is scored; or numbers for one output.

    Raises:
        UserError: another number of labels, or labels that are no classes of the model.
    """
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


def span_loss(logits: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """That of Hugging Face's own classes: the mean cross-entropy of both ends of the answers.

    Args:
        logits: (2, B, N), of the starts and of the ends.
        start: (B,) or (B, 1) where the answers begin; rows with a place beyond N are left out.
        end: where they end.

    Raises:
        UserError: another number of places.
    """
    rows, beyond = logits.shape[1:]
    ends = []
    for name, those, places in zip(("start", "end"), logits, (start, end), strict=True):
        check_shape(f"{name}_positions", places.reshape(-1), (rows,))
        wanted = places.reshape(-1).to(those.device).clamp(0, beyond)
        ends.append(F.cross_entropy(those, wanted, ignore_index=beyond))
    return torch.stack(ends).mean()


def _row(which: Tensor) -> str:
    return f"row {int(which.nonzero()[0]) + 1} of {len(which)}"
