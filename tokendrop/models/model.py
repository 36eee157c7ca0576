"""A backbone and a reducer as one model: forward, save, load, predict."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Encoding
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded
from tokendrop.errors import UserError, one_line
from tokendrop.families import family_of
from tokendrop.files import whole_folder
from tokendrop.heads import kind_of, reads_tokens
from tokendrop.models import backbones, cards, hub
from tokendrop.models.cards import CARD, SIDE_CAR, Figures, ModelSummary
from tokendrop.models.checkpoints import check_vocabulary
from tokendrop.models.prediction import Prediction, Text, answer, checked, tokenised
from tokendrop.reducers import with_changes
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.stored import stored_reducer
from tokendrop.stored import read_json
from tokendrop.tasks.names import check_head, names_by_id

log = logging.getLogger(__name__)

MODEL_TYPE = "tokendrop"  # of the side-car, for Hugging Face's Auto classes
WEIGHTS = "reducer.safetensors"


class TokenDropModel(nn.Module):
    """An unmodified Hugging Face model with its task head, and a reducer that drops its tokens.

    On disk it is a plain Hugging Face checkpoint, with the reducer in the folder ``reducer``
    beside the weights.

    Attributes:
        figures: what was measured at this operating point, None if nothing was.
    """

    def __init__(
        self,
        backbone: PreTrainedModel,
        reducer: Reducer,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
    ) -> None:
        """
        Args:
            backbone: a model of a supported family with a head.
            reducer: the method; its weights are made here.
            tokenizer: the backbone's.
            max_length: longest row in tokens; texts are cut to it.

        Raises:
            UserError: the reducer's arguments or ``max_length`` do not fit the backbone.
        """
        super().__init__()
        self.backbone = backbone
        self.reducer = reducer
        self.tokenizer = tokenizer
        self.figures: Figures | None = None
        self.shape = backbones.shape_of(backbone.config, max_length, kind_of(backbone))
        reducer.build(self.shape)

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits."""
        return names_by_id(self.backbone.config)

    @property
    def summary(self) -> ModelSummary:
        """What its card tells."""
        kind = self.backbone.config.model_type
        return ModelSummary(self.reducer, self.shape, kind, self.labels, self.figures)

    def forward(self, batch: Batch) -> Encoded:
        return encode(self.backbone, batch, self.reducer)

    @torch.inference_mode()
    def predict(self, texts: Sequence[Text], batch_size: int = 32) -> list[Prediction]:
        """Answer for texts, or pairs of texts.

        Args:
            texts: one string or a pair of strings each, for answering a question and its context;
                longer ones are cut to ``max_length``. A tagger's text has blanks between its words.
            batch_size: rows at a time; no answer depends on it.

        Raises:
            UserError: a text is empty, or a question has no context.
        """
        kind, limit = self.shape.task, self.shape.max_tokens
        parts = checked(texts, kind)
        rows = [tokenised(self.tokenizer, text, kind, limit) for text in parts]
        if cut := sum(bool(row.overflowing) for row in rows):
            log.warning("%d of %d texts were cut to %d tokens", cut, len(rows), limit)
        self.eval()
        predictions: list[Prediction] = []
        for start in range(0, len(rows), batch_size):
            end = start + batch_size
            predictions.extend(self._predict_batch(rows[start:end], parts[start:end]))
        return predictions

    def _predict_batch(
        self, rows: Sequence[Encoding], texts: Sequence[tuple[str, ...]]
    ) -> Iterable[Prediction]:
        batch = Batch.pack([row.ids for row in rows], [row.type_ids for row in rows])
        encoded = self(batch.to(self.backbone.device))
        lengths = [len(row.ids) for row in rows]
        by_token = reads_tokens(self.backbone)
        logits = encoded.logits.split(lengths) if by_token else encoded.logits
        depths = encoded.trace.token_depth().split(lengths)
        leaving = encoded.trace.row_depth().tolist()
        for row, text, found, depth, left in zip(rows, texts, logits, depths, leaving, strict=True):
            label, probabilities = answer(found, row, text, self.shape.task, self.labels)
            yield Prediction(
                label, probabilities, row.tokens, depth.tolist(), left, self.shape.layers
            )

    @classmethod
    def from_pretrained(cls, name: str | Path, **operating_point: Any) -> TokenDropModel:
        """The same as :func:`load`."""
        return load(name, **operating_point)

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, token: str | None = None
    ) -> str:
        """Put the model on the Hugging Face Hub, as :meth:`save_pretrained` would write it.

        Args:
            repo_id: owner/name.
            private: whether a new repository is private; by default as the owner has set.
            token: of the owner, by default that of ``hf auth login``.

        Returns:
            the address of the model's page.

        Raises:
            UserError: a bad name or token, or the Hub cannot be reached.
        """
        with TemporaryDirectory() as place:
            folder = Path(place) / "model"
            self.save_pretrained(folder)
            (folder / CARD).write_text(str(cards.card(self.summary, repo_id)), encoding="utf-8")
            return hub.upload(folder, repo_id, private, token)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model and its card; the folder appears only once it is complete.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        try:
            with whole_folder(Path(folder)) as draft:
                self.backbone.save_pretrained(draft)
                self.tokenizer.save_pretrained(draft)
                side_car = draft / SIDE_CAR
                side_car.mkdir()
                described = {
                    "model_type": MODEL_TYPE,
                    "reducer": self.reducer.spec(),
                    "backbone_type": self.backbone.config.model_type,
                    "max_length": self.shape.max_tokens,
                }
                (side_car / "config.json").write_text(json.dumps(described, indent=1) + "\n")
                save_file(self.reducer.state_dict(), side_car / WEIGHTS)
                cards.write_figures(draft, self.summary)
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot save the model to {folder}: {one_line(error)}") from error


@dataclass(frozen=True)
class SideCar:
    """What the folder ``reducer`` says of the model around it.

    Attributes:
        reducer: the method.
        backbone_type: what its weights were trained on, None if nobody wrote it down.
        max_length: longest row in tokens, None for as many as the backbone has positions for.
    """

    reducer: dict[str, Any]
    backbone_type: str | None = None
    max_length: int | None = None


def load(
    path: str | Path, *, trust_reducer: bool = False, **operating_point: Any
) -> TokenDropModel:
    """A trained model, ready to predict.

    What a folder says is data: no module is imported and no function is called because it is named
    there, unless ``trust_reducer`` says so.

    Args:
        path: a folder that :meth:`TokenDropModel.save_pretrained` wrote, the Hub name of such a
            model, or a Hugging Face classifier, which is run dense.
        trust_reducer: also make a reducer of somebody else's class, which the folder names and
            which is imported and run.
        operating_point: changes to the reducer's ``operating_arguments``; those of a chain's parts
            have names like ``parts.1.exit_rule``.

    Raises:
        UserError: not a model, no connection to the Hub, weights or a tokenizer that are missing or
            belong to something else, a head for several labels at once or with classes that cannot
            be told apart, a reducer that is not this package's, or a bad operating point.
    """
    folder = hub.model_folder(path)
    spec = _read_side_car(folder).reducer
    reducer = stored_reducer(spec, trust_reducer)
    if fixed := set(operating_point) - reducer.operating_arguments:
        allowed = ", ".join(sorted(reducer.operating_arguments)) or "none"
        raise UserError(
            f"{', '.join(sorted(fixed))} cannot be changed on a trained {type(reducer).__name__}; "
            f"it can be run at other values of: {allowed}"
        )
    if operating_point:
        reducer = stored_reducer(with_changes(spec, operating_point), trust_reducer)
    return load_with(folder, reducer)


def load_with(folder: Path, reducer: Reducer) -> TokenDropModel:
    """The model in a folder, run with a reducer that was made elsewhere and gets its weights.

    Args:
        folder: as in :func:`load`.
        reducer: of the class that was trained there, not yet built.

    Raises:
        UserError: as :func:`load`.
    """
    described = _read_side_car(folder)
    backbone = backbones.load_classifier(folder)
    check_head(backbone.config, kind_of(backbone), f"the model in {folder}")
    found = backbone.config.model_type
    if described.backbone_type not in (None, found):
        raise UserError(
            f"the reducer in {folder / SIDE_CAR} was trained on a {described.backbone_type} "
            f"backbone but the weights beside it are {found}: put the two that belong together "
            "into one folder"
        )
    tokenizer = backbones.load_tokenizer(str(folder))
    check_vocabulary(tokenizer, backbone.config)
    longest = described.max_length or family_of(backbone).positions(backbone.config)
    model = TokenDropModel(backbone, reducer, tokenizer, longest)
    _load_weights(reducer, folder / SIDE_CAR / WEIGHTS)
    model.figures = cards.read_figures(folder, reducer)
    return model.eval()


def _read_side_car(folder: Path) -> SideCar:
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json")
    file = folder / SIDE_CAR / "config.json"
    if not file.parent.is_dir():
        return SideCar({"class_path": "Dense"})
    return read_json(file, SideCar, "what describes a reducer", "restore it", others="ignore")


def _load_weights(reducer: Reducer, file: Path) -> None:
    """Fill a reducer that has weights of its own.

    Raises:
        UserError: there are none, or those of something else.
    """
    if not reducer.state_dict():
        return
    if not file.is_file():
        raise UserError(
            f"{file} is missing, the weights of {type(reducer).__name__}: restore it, or train the "
            "model again"
        )
    try:
        reducer.load_state_dict(load_file(file))
    # a chain reads from its weights which parts act, and torch tells misfits by many exceptions
    except (RuntimeError, SafetensorError, ValueError, TypeError, IndexError, OSError) as error:
        raise UserError(
            f"the reducer weights {file} do not fit {type(reducer).__name__} on this "
            f"backbone: {one_line(error)}"
        ) from error
