"""A backbone and a reducer as one model: forward, save, load, predict."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Encoding
from torch import nn
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

from tokendrop import backbones, sharing
from tokendrop.encoder import encode
from tokendrop.errors import UserError, one_line
from tokendrop.families import family_of
from tokendrop.files import whole_folder
from tokendrop.heads import SUFFIXES, kind_of, reads_tokens
from tokendrop.packed import Batch
from tokendrop.prediction import Prediction, Text, answer, checked, tokenised
from tokendrop.reducers import from_spec, with_changes
from tokendrop.reducers.base import Reducer
from tokendrop.sharing import CARD, SIDE_CAR, Figures
from tokendrop.trace import Encoded

log = logging.getLogger(__name__)

MODEL_TYPE = "tokendrop"  # of the side-car, for Hugging Face's Auto classes


class TokenDropModel(nn.Module):
    """An unmodified Hugging Face model with its head whose tokens a reducer drops.

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
            backbone: a sequence classification model of a supported family.
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
        return list((self.backbone.config.id2label or {}).values())

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
            (folder / CARD).write_text(str(sharing.card(self, repo_id)), encoding="utf-8")
            return sharing.upload(folder, repo_id, private, token)

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
                save_file(self.reducer.state_dict(), side_car / "reducer.safetensors")
                sharing.write_figures(draft, self)
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot save the model to {folder}: {one_line(error)}") from error


def load(
    path: str | Path, *, trust_reducer: bool = False, **operating_point: Any
) -> TokenDropModel:
    """A trained model, ready to predict.

    Args:
        path: a folder that :meth:`TokenDropModel.save_pretrained` wrote, the Hub name of such a
            model, or a Hugging Face classifier, which is run dense.
        trust_reducer: also make a reducer of somebody else's class, which the folder names and
            which is imported and run.
        operating_point: changes to the reducer's ``operating_arguments``; those of a chain's parts
            have names like ``parts.1.exit_rule``.

    Raises:
        UserError: not a model, no connection to the Hub, weights of another architecture, or a bad
            operating point.
    """
    folder = sharing.model_folder(path)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json")
    described = _read_side_car(folder)
    reducer = _with_operating_point(described["reducer"], operating_point)
    backbone = _load_classifier(folder)
    if described.get("backbone_type", backbone.config.model_type) != backbone.config.model_type:
        raise UserError(
            f"the reducer in {folder / SIDE_CAR} was trained on a {described['backbone_type']} "
            f"backbone but the weights beside it are {backbone.config.model_type}: put the two "
            "that belong together into one folder"
        )
    tokenizer = backbones.load_tokenizer(str(folder))
    positions = family_of(backbone).positions(backbone.config)
    model = TokenDropModel(backbone, reducer, tokenizer, described.get("max_length", positions))
    weights = folder / SIDE_CAR / "reducer.safetensors"
    if weights.is_file():
        try:
            reducer.load_state_dict(load_file(weights))
        except (RuntimeError, SafetensorError) as error:
            raise UserError(
                f"the reducer weights {weights} do not fit {type(reducer).__name__} on this "
                f"backbone: {one_line(error)}"
            ) from error
    model.figures = sharing.read_figures(folder, reducer)
    return model.eval()


def _read_side_car(folder: Path) -> dict[str, Any]:
    file = folder / SIDE_CAR / "config.json"
    if not file.is_file():
        return {"reducer": {"class_path": "Dense"}}
    try:
        return json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"{file} is torn or not JSON ({error}): restore it") from error


def _with_operating_point(spec: dict[str, Any], changes: dict[str, Any]) -> Reducer:
    reducer = from_spec(spec)
    fixed = set(changes) - reducer.operating_arguments
    if fixed:
        allowed = ", ".join(sorted(reducer.operating_arguments)) or "none"
        raise UserError(
            f"{', '.join(sorted(fixed))} cannot be changed on a trained {type(reducer).__name__}; "
            f"it can be run at other values of: {allowed}"
        )
    return from_spec(with_changes(spec, changes)) if changes else reducer


def _load_classifier(folder: Path) -> PreTrainedModel:
    try:
        with backbones.quiet_loading():
            names = AutoConfig.from_pretrained(folder).architectures or [""]
            kinds = [kind for kind, suffix in SUFFIXES.items() if names[0].endswith(suffix)]
            auto = backbones.AUTO[kinds[0] if kinds else "classification"]
            model, report = auto.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load the model in {folder}: {one_line(error)}") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise UserError(
            f"the weights in {folder} lack {len(missing)} tensors, e.g. {missing[0]}: it is not a "
            "trained classifier; train one with 'tokendrop fit'"
        )
    return model
