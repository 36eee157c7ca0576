"""A backbone and a reducer as one model: forward, save, load, predict."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tokendrop.engine.compiled import compiled_parts
from tokendrop.engine.encoder import encode
from tokendrop.engine.packed import Batch
from tokendrop.engine.trace import Encoded
from tokendrop.errors import UserError, one_line
from tokendrop.families import family_of
from tokendrop.files import check_target, whole_folder
from tokendrop.heads import head_of
from tokendrop.models import backbones, cards, hub
from tokendrop.models.answering import AnsweringModel
from tokendrop.models.cards import CARD, DESCRIBED, SIDE_CAR, Figures, ModelSummary
from tokendrop.models.checkpoints import check_head, check_vocabulary
from tokendrop.models.placing import Dtype, cast_weights, device_named, made_in_fp32, uncast
from tokendrop.models.side_car import WEIGHTS, SideCar, load_weights, read_side_car
from tokendrop.reducers import with_changes
from tokendrop.reducers.base import Reducer
from tokendrop.reducers.stored import stored_reducer
from tokendrop.sums import LIST, listed
from tokendrop.tasks import Answering, kind_named, kind_of

log = logging.getLogger(__name__)

MODEL_TYPE = "tokendrop"  # of the side-car, for Hugging Face's Auto classes


class TokenDropModel(AnsweringModel):
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
        answering: Answering | None = None,
    ) -> None:
        """
        Args:
            backbone: a model of a supported family with a head.
            reducer: the method; its weights are made here.
            tokenizer: the backbone's.
            max_length: longest row in tokens; texts are cut to it.
            answering: how its answers were scored; as its head says, if not given.

        Raises:
            UserError: the reducer's arguments or ``max_length`` do not fit the backbone, or this is
                another library's model around one.
        """
        super().__init__()
        if not isinstance(backbone, PreTrainedModel):
            raise UserError(
                f"the backbone is a {type(backbone).__name__}, no model of Hugging Face's: give "
                "what is in it (of an adapter of PEFT, what merge_and_unload() returns)"
            )
        self.backbone = backbone
        self.reducer = reducer
        self.tokenizer = tokenizer
        self.figures: Figures | None = None
        self.answering = answering or Answering(kind_of(backbone))
        self.shape = backbones.shape_of(backbone.config, max_length, self.answering.kind)
        with made_in_fp32():
            reducer.build(self.shape)
        for part in reducer.modules():
            if isinstance(part, Reducer):
                part.in_model = True

    @property
    def summary(self) -> ModelSummary:
        """What its card tells."""
        kind = self.backbone.config.model_type
        head, pairs = head_of(self.backbone), self.answering.parts == 2
        return ModelSummary(self.reducer, self.shape, kind, head, self.labels, pairs, self.figures)

    def forward(self, batch: Batch | None = None, **padded: Any) -> Encoded:
        """What the method makes of a batch.

        Under ``torch.compile`` the layers' parts are compiled, and not the loop around them, in
        which every batch goes another way.

        Raises:
            UserError: what Hugging Face's models take in the place of a batch: padded tensors.
        """
        if padded or not isinstance(batch, Batch):
            raise UserError(
                "a TokenDropModel runs a packed tokendrop.engine.packed.Batch: for texts use "
                "predict(texts), for padded tensors "
                f"{head_of(self.backbone).auto.__name__}.from_pretrained(FOLDER, "
                f'subfolder="{SIDE_CAR}") after tokendrop.register()'
            )
        encoded: Encoded = self._encoded(batch, torch.compiler.is_compiling())
        return encoded

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _encoded(self, batch: Batch, compiled: bool) -> Encoded:
        with compiled_parts(True) if compiled else nullcontext():
            return encode(self.backbone, batch, self.reducer)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # what half(), to() and others come down to: methods decide in fp32, so theirs are not cast
        self.backbone._apply(fn, recurse)
        self.reducer._apply(uncast(fn), recurse)  # type: ignore[no-untyped-call]
        return self

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> TokenDropModel:
        """The same as :func:`load`."""
        return load(name, **options)

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

        Args:
            folder: where to; a model of this package that lies there is replaced.

        Raises:
            UserError: the disk is full, or the folder cannot be written or holds something else.
        """
        check_target(Path(folder), DESCRIBED)
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
                    "answering": asdict(self.answering),
                }
                (draft / DESCRIBED).write_text(json.dumps(described, indent=1) + "\n")
                save_file(self.reducer.state_dict(), side_car / WEIGHTS)
                cards.write_figures(draft, self.summary)
                # what people correct by hand has none, nor has what nothing is read from
                weights = [*draft.glob("*.safetensors")]
                weights += [side_car / WEIGHTS] if self.reducer.state_dict() else []
                (draft / LIST).write_text(listed(draft, weights))
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot save the model to {folder}: {one_line(error)}") from error


def load(
    path: str | Path,
    *,
    trust_reducer: bool = False,
    device: str | None = None,
    dtype: Dtype = "fp32",
    **operating_point: Any,
) -> TokenDropModel:
    """A trained model, ready to predict.

    What a folder says is data: no module is imported and no function is called because it is named
    there, unless ``trust_reducer`` says so.

    Args:
        path: a folder that :meth:`TokenDropModel.save_pretrained` wrote, the Hub name of such a
            model, or a Hugging Face classifier, which is run dense.
        trust_reducer: also make a reducer of somebody else's class, which the folder names and
            which is imported and run.
        device: where it runs, e.g. "cuda"; the processor if not given.
        dtype: of the backbone's weights; what the method decides is decided in fp32 always.
        operating_point: changes to the reducer's ``operating_arguments``; those of a chain's parts
            have names like ``parts.1.exit_rule``.

    Raises:
        UserError: not a model, no connection to the Hub, weights or a tokenizer that are missing or
            belong to something else, a head for several labels at once or with classes that cannot
            be told apart, a reducer that is not this package's, a bad operating point, or no such
            device here.
    """
    place = None if device is None else device_named(device)
    folder = hub.model_folder(path)
    described = read_side_car(folder)
    reducer = stored_reducer(described.reducer, trust_reducer)
    if fixed := set(operating_point) - reducer.operating_arguments:
        allowed = ", ".join(sorted(reducer.operating_arguments)) or "none"
        raise UserError(
            f"{', '.join(sorted(fixed))} cannot be changed on a trained {type(reducer).__name__}; "
            f"it can be run at other values of: {allowed}"
        )
    if operating_point:
        changed = with_changes(described.reducer, operating_point)
        reducer = stored_reducer(changed, trust_reducer)
    model = _assembled(folder, described, reducer)
    cast_weights(model.backbone, dtype)
    return model if place is None else model.to(place)


def load_with(folder: Path, reducer: Reducer) -> TokenDropModel:
    """The model in a folder, run with a reducer that was made elsewhere and gets its weights.

    Args:
        folder: as in :func:`load`.
        reducer: of the class that was trained there, not yet built.

    Raises:
        UserError: as :func:`load`.
    """
    return _assembled(folder, read_side_car(folder), reducer)


def _assembled(folder: Path, described: SideCar, reducer: Reducer) -> TokenDropModel:
    backbone = backbones.load_classifier(folder)
    answering = described.answering or Answering(kind_of(backbone))
    kind = kind_named(answering.kind)
    check_head(backbone.config, kind, f"the model in {folder}")
    if kind.head.suffix != head_of(backbone).suffix or answering.doc_stride < 0:
        raise UserError(
            f"{folder / SIDE_CAR / 'config.json'} says under answering what does not fit the "
            f"{type(backbone).__name__} beside it ({answering}): restore it"
        )
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
    model = TokenDropModel(backbone, reducer, tokenizer, longest, answering)
    load_weights(reducer, folder / SIDE_CAR / WEIGHTS)
    model.figures = cards.read_figures(folder, reducer)
    return model.eval()
